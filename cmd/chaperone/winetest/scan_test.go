package winetest_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/winetest"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

func has(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

// TestWine runs all in one prefix.
func TestWine(t *testing.T) {
	p := winetest.Ready(t)
	t.Run("scan", func(t *testing.T) { scanned(t, p) })
	t.Run("installed", func(t *testing.T) { registered(t, p) })
}

// scanned: our binary for Windows finds a renamed messenger, plans, takes it away and brings it back as it was.
func scanned(t *testing.T, p *winetest.Prefix) {
	has(t, p.Chaperone(t, 2, "serve"), "serve runs only on Linux")
	has(t, p.Chaperone(t, 0, "version"), "chaperone dev")
	deep := `C:\tree\` + strings.Repeat(`a folder of a long name that leads further and further down\`, 5)
	for _, dir := range []string{`C:\tree\empty`, deep} {
		if err := os.MkdirAll(p.Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := p.Path(`C:\tree\holiday.jpg`)
	when := time.Unix(1_600_000_000, 123_456_700)
	link := errors.Join(os.WriteFile(file, scantest.Installer(), 0o644), os.Chtimes(file, when, when), os.Symlink(p.Path(`C:\tree\empty`), p.Path(`C:\tree\link`)))
	if _, err := scantest.WriteRenamedInstaller(p.Path(deep)); errors.Join(link, err) != nil {
		t.Fatal(link, err)
	}
	said := p.Chaperone(t, 1, "scan", `C:\tree`)
	has(t, said, `C:\tree\holiday.jpg`, `further down\holiday.jpg`, "telegram pe installer", "2 findings, 0 not looked into", "Windows has no such thing")
	has(t, p.Chaperone(t, 1, "scan", "--json", `C:\tree`), `"path":"C:\\tree\\holiday.jpg"`, strings.ReplaceAll(deep, `\`, `\\`)+"holiday.jpg", `"app":"telegram"`, `"type":"summary"`)

	has(t, p.Chaperone(t, 1, "scan", "--quarantine", "--plan", `C:\plan.json`, "--data", `C:\data`, `C:\tree\holiday.jpg`), "nothing was changed")
	said = p.Chaperone(t, 1, "scan", "--apply", `C:\plan.json`, "--data", `C:\data`)
	has(t, said, `: C:\tree\holiday.jpg`)
	id := regexp.MustCompile(`in quarantine as ([0-9a-f-]{36})`).FindStringSubmatch(said)
	if _, err := os.Lstat(file); id == nil || !os.IsNotExist(err) {
		t.Fatalf("it is still there (%v): %s", err, said)
	}
	has(t, p.Chaperone(t, 0, "quarantine", "list", "--data", `C:\data`), id[1], `C:\tree\holiday.jpg`)
	has(t, p.Chaperone(t, 0, "quarantine", "restore", "--data", `C:\data`, id[1]), "is back at")
	b, err := os.ReadFile(file)
	info, err2 := os.Stat(file)
	if err := errors.Join(err, err2); err != nil || !bytes.Equal(b, scantest.Installer()) || !info.ModTime().Equal(when) {
		t.Errorf("%v, of %v", err, info)
	}
	has(t, p.Chaperone(t, 2, "quarantine", "restore", "--data", `C:\data`, id[1]), "no such item")
}

// registered: what the machine's registry says of a program is used when Windows Installer put it there, and not when anybody could have
// written the program that it names; what a user's registry says is never used.
func registered(t *testing.T, p *winetest.Prefix) {
	const uninstall = `\Software\Microsoft\Windows\CurrentVersion\Uninstall\`
	set := func(key, value, kind, data string) {
		t.Helper()
		if out, err := p.Output("reg", "add", key, "/v", value, "/t", kind, "/d", data, "/f"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	known := programtest.Deb("telegram-desktop", "4.6", nil) // a fact identifies it for itself
	for dir, b := range map[string][]byte{"Installed": scantest.Installer(), "Left": known, "Mine": known} {
		path := p.Path(`C:\Program Files\` + dir)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.WriteFile(filepath.Join(path, "tool.exe"), b, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	msi := uninstall + `{39AF0813-FA7B-4860-ADBE-93B9B214B914}`
	set("HKLM"+msi, "InstallLocation", "REG_SZ", `C:\Program Files\Installed`)
	set("HKLM"+msi, "WindowsInstaller", "REG_DWORD", "1")
	for key, dir := range map[string]string{"HKLM" + uninstall + "left": "Left", "HKCU" + uninstall + "mine": "Mine"} {
		set(key, "InstallLocation", "REG_SZ", `C:\Program Files\`+dir)
		set(key, "QuietUninstallString", "REG_SZ", `"C:\chaperone.exe" version`)
	}
	said := p.Chaperone(t, 1, "scan", `C:\Program Files\Installed`, `C:\Program Files\Left`, `C:\Program Files\Mine`)
	has(t, said, `C:\Program Files\Left\tool.exe: --quarantine moves it away`, `C:\Program Files\Mine\tool.exe: --quarantine moves it away`,
		`C:\Program Files\Installed\tool.exe: left alone by --remove: it belongs to package 39AF0813-`)
}
