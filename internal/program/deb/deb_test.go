package deb

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program"
)

func TestParseControl(t *testing.T) {
	id := ParseControl([]byte("Package: telegram-desktop\nVersion: 4.6.5+ds-2\nMaintainer: A <a@example.org>\nDescription: x\n Package: not-this\n"))
	if id.Package != "telegram-desktop" || id.Version != "4.6.5+ds-2" || id.Maintains != "A <a@example.org>" || id.Kind != program.Package {
		t.Errorf("got %+v", id)
	}
	if id := ParseControl(nil); id.Package != "" || id.Format != program.Deb {
		t.Errorf("got %+v", id)
	}
	if id := ParseControl([]byte("PACKAGE: a\x1b[31m\n" + strings.Repeat("x", 1<<17))); id.Package != "a[31m" {
		t.Errorf("got %q", id.Package)
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add([]byte("Package: x\nVersion: 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id := ParseControl(b); strings.ContainsAny(id.Package, "\n\x00\x1b") {
			t.Errorf("%q", id.Package)
		}
	})
}
