package desktop

import (
	"errors"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	id, err := Parse([]byte("#!/usr/bin/env xdg-open\n[Desktop Entry]\nType=Application\nName=Telegram\nIcon=org.telegram.desktop\n" +
		"Exec=env QT=1 /usr/bin/flatpak run org.telegram.desktop -- %u\nX-Flatpak=org.telegram.desktop\nStartupWMClass=TelegramDesktop\n" +
		"[Desktop Action new]\nName=New\nExec=other\n"))
	if err != nil {
		t.Fatal(err)
	}
	if id.Product != "Telegram" || id.Binary != "flatpak" || id.Flatpak != "org.telegram.desktop" ||
		!slices.Equal(id.DesktopID, []string{"org.telegram.desktop", "TelegramDesktop"}) {
		t.Errorf("got %+v", id)
	}
	for _, text := range []string{"", "[Desktop Entry]\nType=Link\nURL=https://example.org\n", "[Other]\nType=Application\n"} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrNotApplication) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestStarted(t *testing.T) {
	for line, want := range map[string]string{
		`"/opt/Signal/signal-desktop" %U`:                         "signal-desktop",
		"env BAMF_DESKTOP_FILE_HINT=x /snap/bin/telegram-desktop": "telegram-desktop",
		"/usr/bin/env": "",
		"":             "",
	} {
		if got := started(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("[Desktop Entry]\nType=Application\nExec=x\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Parse(b) // must end, whatever it says
	})
}
