package desktop_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/desktop"
)

// TestStartedPrograms: what an Exec line starts, without its path and what is put before it.
func TestStartedPrograms(t *testing.T) {
	for exec, want := range map[string]string{
		"telegram-desktop -- %u": "telegram-desktop", "/usr/bin/signal-desktop --no-sandbox %U": "signal-desktop", `"/opt/Signal/signal" %U`: "signal",
		"env BAMF_HINT=/x.desktop /snap/bin/telegram %u": "telegram", "/usr/bin/env A=1 B=2 discord": "discord", "env": "", "": "", "A=b": "",
		"/usr/bin/flatpak run --branch=stable org.signal.Signal": "flatpak",
	} {
		id, err := desktop.Parse([]byte("[Desktop Entry]\nType=Application\nExec=" + exec + "\n"))
		if err != nil || id.Binary != want {
			t.Errorf("%q starts %q (%v), want %q", exec, id.Binary, err, want)
		}
	}
}

// TestEntries: only the entry itself counts, and only when it starts a program (Desktop Entry Specification 1.5, section 3).
func TestEntries(t *testing.T) {
	const entry = "[Desktop Entry]\nType=Application\nName=Signal\nIcon=signal-desktop\nStartupWMClass=Signal\n"
	for _, c := range []struct {
		name, text string
		product    string
		ids        []string
		starts     bool
	}{
		{"an entry", entry, "Signal", []string{"signal-desktop", "Signal"}, true},
		{"comments and blank lines", "# comment\n\n" + strings.ReplaceAll(entry, "\n", "\n\n# more\n"), "Signal", []string{"signal-desktop", "Signal"}, true},
		{"lines of Windows", strings.ReplaceAll(entry, "\n", "\r\n"), "Signal", []string{"signal-desktop", "Signal"}, true},
		{"spaces about the sign", "[Desktop Entry]\nType = Application\nName = Signal\n", "Signal", nil, true},
		{"other languages", entry + "Name[de]=Zeichen\n", "Signal", []string{"signal-desktop", "Signal"}, true},
		{"actions behind it", entry + "[Desktop Action New]\nName=New window\nIcon=other\n", "Signal", []string{"signal-desktop", "Signal"}, true},
		{"a group before it", "[X-Other]\nName=Other\n" + entry, "Signal", []string{"signal-desktop", "Signal"}, true},
		{"an icon with a path", "[Desktop Entry]\nType=Application\nIcon=/opt/Signal/signal.png\n", "", []string{"signal.png"}, true},
		{"an icon without a name", "[Desktop Entry]\nType=Application\nIcon=/\n", "", nil, true},
		{"a long line before", "[Desktop Entry]\nComment=" + strings.Repeat("x", 200<<10) + "\nType=Application\nName=Signal\n", "Signal", nil, true},
		{"a link", "[Desktop Entry]\nType=Link\nName=Site\n", "Site", nil, false},
		{"no type", "[Desktop Entry]\nName=Signal\n", "Signal", nil, false},
		{"the type in another group", "[Desktop Entry]\nName=Signal\n[Other]\nType=Application\n", "Signal", nil, false},
		{"no group", "Type=Application\nName=Signal\n", "", nil, false},
		{"nothing", "", "", nil, false},
	} {
		id, err := desktop.Parse([]byte(c.text))
		if c.starts != (err == nil) || err != nil && !errors.Is(err, desktop.ErrNotApplication) {
			t.Errorf("%s: %v", c.name, err)
		}
		if id.Product != c.product || !slices.Equal(id.DesktopID, c.ids) {
			t.Errorf("%s: %+v", c.name, id)
		}
	}
}

// TestMarksOfStores: flatpak and snap write who the program is.
func TestMarksOfStores(t *testing.T) {
	id, err := desktop.Parse([]byte("[Desktop Entry]\nType=Application\nX-Flatpak=org.signal.Signal\nX-SnapInstanceName=signal-desktop\n"))
	if err != nil || id.Flatpak != "org.signal.Signal" || id.Snap != "signal-desktop" || id.Kind != "launcher" {
		t.Errorf("%+v, %v", id, err)
	}
}
