package programtest_test

import (
	"bytes"
	"debug/pe"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// TestPEIsReal reads the program with another reader of the format.
func TestPEIsReal(t *testing.T) {
	f, err := pe.NewFile(bytes.NewReader(programtest.PE(map[string]string{"ProductName": "Example"})))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sections) != 2 || f.Section(".rsrc") == nil {
		t.Errorf("sections %v", f.Sections)
	}
}

// TestDebIsReal lets dpkg-deb read the package.
func TestDebIsReal(t *testing.T) {
	tool, err := exec.LookPath("dpkg-deb")
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("dpkg-deb is not installed")
	}
	name := filepath.Join(t.TempDir(), "x.deb")
	if err := os.WriteFile(name, programtest.Deb("example", "1.2", map[string][]byte{"./usr/bin/example": []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "--info", name).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Package: example") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command(tool, "--contents", name).CombinedOutput(); err != nil || !strings.Contains(string(out), "usr/bin/example") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestArchivesAreReal lets 7z read them.
func TestArchivesAreReal(t *testing.T) {
	tool, err := exec.LookPath("7z")
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("7z is not installed")
	}
	f := programtest.File{Name: "example.txt", Body: []byte("words")}
	for name, b := range map[string][]byte{"x.cab": programtest.Cabinet(f), "x.xar": programtest.XAR("application/octet-stream", f)} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool, "l", path).CombinedOutput(); err != nil || !strings.Contains(string(out), f.Name) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	if b := programtest.MachO("org.example", "TEAM"); !bytes.Contains(b, []byte("org.example\x00TEAM\x00")) || len(programtest.ASAR(f)) < 20 || !bytes.HasPrefix(programtest.RAR(0, f), []byte("Rar!")) {
		t.Errorf("%x", b)
	}
}
