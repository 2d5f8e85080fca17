package installed_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/installed"
)

const code = "{39AF0813-FA7B-4860-ADBE-93B9B214B914}"

func TestOwning(t *testing.T) {
	telegram := installed.Program{Key: "Telegram_is1", Title: "Telegram Desktop", Location: `C:\Program Files\Telegram Desktop\`}
	skype := installed.Program{Key: code, Icon: `"C:\Program Files (x86)\Microsoft\Skype\Skype.exe",0`, ByWindows: true}
	office := installed.Program{Key: "office", Location: `C:\Program Files (x86)\Microsoft`}
	for name, c := range map[string]struct {
		path string
		all  []installed.Program
		want string
	}{
		"in its folder":         {`c:\program files\telegram desktop\Telegram.exe`, []installed.Program{skype, telegram}, telegram.Key},
		"deep in it":            {`C:\Program Files\Telegram Desktop\modules\a\b.dll`, []installed.Program{telegram}, ""},
		"deep, by its icon":     {`C:\A\B\bin\Zoom.exe`, []installed.Program{{Key: "zoom", Location: `C:\A\B`, Icon: `C:\A\B\bin\zoom.exe,0`}}, "zoom"},
		"by its icon":           {`C:\Program Files (x86)\Microsoft\Skype\x.exe`, []installed.Program{skype}, code},
		"the innermost":         {`C:\Program Files (x86)\Microsoft\Skype\x.exe`, []installed.Program{skype, office}, code},
		"beside":                {`C:\Program Files\Telegram Desktop 2\Telegram.exe`, []installed.Program{telegram}, ""},
		"the folder itself":     {`C:\Program Files\Telegram Desktop`, []installed.Program{telegram}, ""},
		"two that claim it":     {`C:\Program Files\Telegram Desktop\x.exe`, []installed.Program{telegram, {Key: "other", Location: telegram.Location}}, ""},
		"twice the same":        {`C:\Program Files\Telegram Desktop\x.exe`, []installed.Program{telegram, telegram}, telegram.Key},
		"all programs":          {`C:\Program Files\x\x.exe`, []installed.Program{{Key: "a", Location: `C:\Program Files`}}, ""},
		"the drive":             {`C:\x\x.exe`, []installed.Program{{Key: "a", Location: `C:\`}}, ""},
		"Windows":               {`C:\Windows\System32\x.exe`, []installed.Program{{Key: "a", Location: `C:\Windows\System32`}}, ""},
		"a folder of a server":  {`\\server\share\x.exe`, []installed.Program{{Key: "a", Location: `\\server\share`}}, ""},
		"a way back":            {`C:\Program Files\x.exe`, []installed.Program{{Key: "a", Location: `C:\Program Files\a\..`}}, ""},
		"nothing said":          {`C:\a\x.exe`, []installed.Program{{Key: "a"}}, ""},
		"a relative icon":       {`C:\a\x.exe`, []installed.Program{{Key: "a", Icon: "x.exe"}}, ""},
		"slashes instead":       {`C:\a\b\x.exe`, []installed.Program{{Key: "a", Location: "C:/a/b/"}}, "a"},
		"a comma in the folder": {`C:\a,b\x.exe`, []installed.Program{{Key: "a", Icon: `C:\a,b\x.exe`}}, "a"},
	} {
		if got, ok := installed.Owning(c.path, c.all); ok != (c.want != "") || ok && got.Key != c.want {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

func TestCommand(t *testing.T) {
	guarded := func(path string) error {
		if strings.HasPrefix(path, `C:\Program Files\`) {
			return nil
		}
		return errors.New("anybody may write it")
	}
	split := func(line string) ([]string, error) { // good enough for a test: real ones are split by Windows
		if rest, ok := strings.CutPrefix(line, `"`); ok {
			program, args, _ := strings.Cut(rest, `"`)
			return append([]string{program}, strings.Fields(args)...), nil
		}
		return strings.Fields(line), nil
	}
	for name, c := range map[string]struct {
		p    installed.Program
		want []string
	}{
		"Windows Installer":  {installed.Program{Key: code, ByWindows: true, Quiet: `C:\evil.exe`}, []string{`C:\Windows\system32\msiexec.exe`, "/x", code, "/qn", "/norestart"}},
		"its own":            {installed.Program{Key: "a", Quiet: `"C:\Program Files\A\unins000.exe" /SILENT`}, []string{`C:\Program Files\A\unins000.exe`, "/SILENT"}},
		"none that is quiet": {installed.Program{Key: "a"}, nil},
		"not a code":         {installed.Program{Key: "{1}", ByWindows: true}, nil},
		"a code alone":       {installed.Program{Key: code}, nil},
		"a user's":           {installed.Program{Key: "a", Quiet: `C:\Users\alice\AppData\Local\A\unins.exe /S`}, nil},
		"no quotes":          {installed.Program{Key: "a", Quiet: `C:\Program Files\A\unins.exe /S`}, nil},
		"relative":           {installed.Program{Key: "a", Quiet: `unins.exe /S`}, nil},
		"on a server":        {installed.Program{Key: "a", Quiet: `\\server\share\unins.exe`}, nil},
		"a shell":            {installed.Program{Key: "a", Quiet: `"C:\Program Files\A\cmd.exe" /c del x`}, nil},
		"another shell":      {installed.Program{Key: "a", Quiet: `"C:\Program Files\PowerShell\7\pwsh.exe" -c x`}, nil},
		"a library":          {installed.Program{Key: "a", Quiet: `"C:\Program Files\A\RunDll32.exe" x.dll,y`}, nil},
		"a script":           {installed.Program{Key: "a", Quiet: `"C:\Program Files\A\remove.cmd"`}, nil},
		"a variable":         {installed.Program{Key: "a", Quiet: `"C:\Program Files\%A%\unins.exe"`}, nil},
		"a way back":         {installed.Program{Key: "a", Quiet: `"C:\Program Files\..\Users\alice\unins.exe"`}, nil},
		"a device":           {installed.Program{Key: "a", Quiet: `"\\?\C:\Program Files\A\unins.exe"`}, nil},
		"nothing but space":  {installed.Program{Key: "a", Quiet: ` `}, nil},
	} {
		got, err := c.p.Command(`C:\Windows\system32`, split, guarded)
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) || err != nil && !errors.Is(err, installed.ErrCommand) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
