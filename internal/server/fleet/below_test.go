package fleet

import "testing"

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		path, dir, system string
		want              bool
	}{
		{"/home/a", "/home", "linux", true},
		{"/home", "/home/", "linux", true},
		{"/homes", "/home", "linux", false},
		{"/Home/a", "/home", "linux", false},
		{"/Home/a", "/home", "darwin", true},
		{"/a", "/", "linux", true},
		{`C:\Users\x\AppData\Slack.exe`, `c:\users`, "windows", true},
		{`C:\Users\x`, `C:/Users`, "windows", true},
		{`C:\x`, `C:\`, "windows", true},
		{`D:\x`, `C:\`, "windows", false},
		{`/home/a\b`, `/home/a`, "linux", false},
	} {
		if got := below(c.path, c.dir, c.system); got != c.want {
			t.Errorf("%s below %s on %s: %v", c.path, c.dir, c.system, got)
		}
	}
}
