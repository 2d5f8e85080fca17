package pe_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/pe"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

func TestVersionResource(t *testing.T) {
	id, err := pe.Parse(programtest.PE(map[string]string{
		"ProductName": "Telegram Desktop", "CompanyName": "Telegram FZ-LLC", "ProductVersion": "4.6.5", "OriginalFilename": "Telegram.exe",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := program.Identity{Format: program.PE, Kind: program.Client, Product: "Telegram Desktop", Company: "Telegram FZ-LLC", Version: "4.6.5", Binary: "Telegram.exe"}
	if id.Product != want.Product || id.Company != want.Company || id.Version != want.Version || id.Binary != want.Binary || id.Kind != want.Kind {
		t.Errorf("got %+v", id)
	}
	id, err = pe.Parse(programtest.PE(map[string]string{"FileDescription": "Telegram Desktop Setup", "FileVersion": "1.2"}))
	if err != nil || id.Kind != program.Installer || id.Version != "1.2" {
		t.Errorf("installer: %+v, %v", id, err)
	}
}

func TestNotPE(t *testing.T) {
	for _, data := range []string{"", "MZ", "MZ" + strings.Repeat("x", 200), "MZ" + strings.Repeat("\x00", 58) + "\xff\xff\xff\xff"} {
		if _, err := pe.Parse([]byte(data)); !errors.Is(err, pe.ErrNotPE) {
			t.Errorf("%q: %v", data, err)
		}
	}
}

// need returns a tool, or ends the test: skipped, but in CI it fails.
func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip(tool + " is not installed")
	}
	return path
}

func run(t *testing.T, dir, tool string, args ...string) {
	t.Helper()
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// TestSignature signs a program with a real tool and a certificate of our own.
func TestSignature(t *testing.T) {
	sign, openssl := need(t, "osslsigncode"), need(t, "openssl")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.exe"), programtest.PE(map[string]string{"ProductName": "Example"}), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "30",
		"-subj", "/C=AE/L=Dubai/O=Telegram FZ-LLC/CN=Telegram FZ-LLC", "-addext", "extendedKeyUsage=codeSigning")
	run(t, dir, sign, "sign", "-certs", "c.pem", "-key", "k.pem", "-in", "a.exe", "-out", "b.exe")
	data, err := os.ReadFile(filepath.Join(dir, "b.exe"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := pe.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(id.Signers) != 1 || !strings.Contains(id.Signers[0].Subject, "O=Telegram FZ-LLC") || !id.Signers[0].Time.IsZero() {
		t.Errorf("signers %+v", id.Signers)
	}
	if id.Product != "Example" {
		t.Errorf("product %q", id.Product)
	}
}

// TestInstaller makes an installer with NSIS.
func TestInstaller(t *testing.T) {
	nsis := need(t, "makensis")
	dir := t.TempDir()
	script := "OutFile \"x.exe\"\nName \"x\"\nVIProductVersion \"1.2.3.4\"\nVIAddVersionKey ProductName \"WhatsApp\"\n" +
		"VIAddVersionKey CompanyName \"WhatsApp LLC\"\nVIAddVersionKey FileVersion \"1.2.3.4\"\nVIAddVersionKey LegalCopyright \"\"\n" +
		"VIAddVersionKey FileDescription \"WhatsApp\"\nSection\nSectionEnd\n"
	if err := os.WriteFile(filepath.Join(dir, "x.nsi"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nsis, "-V1", "x.nsi")
	data, err := os.ReadFile(filepath.Join(dir, "x.exe"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := pe.Parse(data)
	if err != nil || id.Kind != program.Installer || id.Product != "WhatsApp" || id.Company != "WhatsApp LLC" {
		t.Errorf("%+v, %v", id, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(programtest.PE(map[string]string{"ProductName": "Example", "CompanyName": "Example"}))
	f.Add(programtest.PE(nil)[:600])
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		id, err := pe.Parse(data)
		if err == nil && id.Format != program.PE {
			t.Errorf("format %q", id.Format)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data := programtest.PE(map[string]string{"ProductName": "Example", "CompanyName": "Example"})
	for b.Loop() {
		if _, err := pe.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
