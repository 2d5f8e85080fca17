package pe_test

import (
	"bytes"
	"encoding/binary"
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
	if s := id.Signers[0]; !s.Verified || s.Unverified != "" || !s.SelfSigned || len(s.Key) != 64 {
		t.Errorf("the signature: %+v", s)
	}
	unverified(t, data)
	for _, hash := range []string{"sha1", "sha384"} { // old programs, and a chain that somebody else begins
		run(t, dir, openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.pem", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Example CA")
		run(t, dir, openssl, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "e.pem", "-out", "e.csr", "-subj", "/O=Example/CN=Example")
		run(t, dir, openssl, "x509", "-req", "-in", "e.csr", "-CA", "ca.crt", "-CAkey", "ca.pem", "-CAcreateserial", "-out", "e.crt", "-days", "30")
		run(t, dir, sign, "sign", "-h", hash, "-certs", "e.crt", "-key", "e.pem", "-in", "a.exe", "-out", hash+".exe")
		data, err := os.ReadFile(filepath.Join(dir, hash+".exe"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := pe.Parse(data)
		if err != nil || len(id.Signers) != 1 || !id.Signers[0].Verified || id.Signers[0].SelfSigned {
			t.Errorf("%s: %+v, %v", hash, id.Signers, err)
		}
	}
}

// unverified changes a signed program in all the ways that must not pass for what was signed.
func unverified(t *testing.T, good []byte) {
	t.Helper()
	for name, change := range map[string]func(b []byte) []byte{
		"code":        func(b []byte) []byte { b[0x400] ^= 1; return b },
		"header":      func(b []byte) []byte { b[2] ^= 1; return b },
		"one more":    func(b []byte) []byte { return append(b, 0) },
		"many more":   func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
		"certificate": func(b []byte) []byte { b[bytes.LastIndex(b, []byte("Telegram"))] ^= 0x20; return b },
		"signature":   func(b []byte) []byte { b[len(b)-40] ^= 1; return b },
	} {
		id, err := pe.Parse(change(bytes.Clone(good)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, s := range id.Signers {
			if s.Verified || s.Unverified == "" {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
	checksum := bytes.Clone(good) // the loader's own, which is no part of it
	checksum[binary.LittleEndian.Uint32(checksum[60:])+24+64] ^= 1
	if id, err := pe.Parse(checksum); err != nil || len(id.Signers) != 1 || !id.Signers[0].Verified {
		t.Errorf("checksum: %+v, %v", id.Signers, err)
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
