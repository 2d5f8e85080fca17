package deb_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/deb"
)

// TestControlFiles: fields in any order and letters, and only whole fields of the first column (Debian Policy, section 5.1).
func TestControlFiles(t *testing.T) {
	for _, c := range []struct{ name, control, pkg, version, maintainer string }{
		{"in order", "Package: a\nVersion: 1\nMaintainer: m\n", "a", "1", "m"},
		{"another order", "Maintainer: m\nVersion: 1\nPackage: a\n", "a", "1", "m"},
		{"letters", "PACKAGE: a\nversion: 1\nMaIntainer: m\n", "a", "1", "m"},
		{"lines of Windows", "Package: a\r\nVersion: 1\r\n", "a", "1", ""},
		{"no spaces", "Package:a\nVersion:1:2-3\n", "a", "1:2-3", ""},
		{"many spaces", "Package: \t a  \n", "a", "", ""},
		{"continued", "Description: x\n Package: b\n\tVersion: 9\nPackage: a\n", "a", "", ""},
		{"other fields", "Packages: b\nX-Package: c\nPackage-Type: udeb\nPackage: a\n", "a", "", ""},
		{"no colon", "Package a\nVersion\n", "", "", ""},
		{"no end of last line", "Version: 1\nPackage: a", "a", "1", ""},
		{"a long line before", "Description: " + strings.Repeat("x", 200<<10) + "\nPackage: a\n", "a", "", ""},
		{"behind what is read", "Description: " + strings.Repeat("x", 1<<20) + "\nPackage: a\n", "", "", ""},
		{"control characters", "Package: a\x00\x1b\x07b\nVersion: 1\xff\n", "ab", "1", ""},
		{"empty", "", "", "", ""},
	} {
		id := deb.ParseControl([]byte(c.control))
		if id.Package != c.pkg || id.Version != c.version || id.Maintains != c.maintainer || id.Format != "deb" || id.Kind != "package" {
			t.Errorf("%s: %+v", c.name, id)
		}
	}
	if id := deb.ParseControl([]byte("Package: " + strings.Repeat("a", 5000) + "\n")); len(id.Package) > 512 {
		t.Errorf("a name of %d bytes was kept", len(id.Package))
	}
}
