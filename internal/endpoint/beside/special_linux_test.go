package beside

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSpecial is not held up by what is no regular file, and makes nothing happen by looking.
func TestSpecial(t *testing.T) {
	dir, f := folder(t, map[string]string{"resources/x": ""})
	path := filepath.Join(dir, "resources/app.asar")
	for name, put := range map[string]func() error{
		"a FIFO":           func() error { return unix.Mkfifo(path, 0o600) },
		"a device":         func() error { return os.Symlink("/dev/zero", path) },
		"a loop":           func() error { return os.Symlink("app.asar", path) },
		"a link to itself": func() error { return os.Symlink("/proc/self/fd", path) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		p := at(t, f, filepath.Join(dir, "runtime"))
		if len(p.apps) != 0 {
			t.Errorf("%s is an application", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
