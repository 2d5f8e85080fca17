package msi

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
)

const source = `<?xml version="1.0"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
 <Product Name="Skype for Example" Id="12345678-1234-1234-1234-123456789012" UpgradeCode="87654321-1234-1234-1234-123456789012"
  Language="1033" Codepage="1252" Version="8.9.10" Manufacturer="Skype Technologies S.A.">
  <Package Id="*" Keywords="k" Description="d" Comments="c" InstallerVersion="100" Languages="1033" Compressed="yes" SummaryCodepage="1252"/>
  <Media Id="1" Cabinet="a.cab" EmbedCab="yes"/>
  <Directory Id="TARGETDIR" Name="SourceDir"><Component Id="C" Guid="11111111-1234-1234-1234-123456789012"><File Id="F" Name="a.txt" Source="a.txt" KeyPath="yes"/></Component></Directory>
  <Feature Id="Complete" Level="1"><ComponentRef Id="C"/></Feature>
 </Product>
</Wix>`

// tool returns a program, or ends the test: skipped, but in CI it fails.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip(name + " is not installed")
	}
	return path
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(tool(t, name), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// build lets wixl make x.msi in a new folder.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "x.wxs"), []byte(source), 0o600), os.WriteFile(filepath.Join(dir, "a.txt"), []byte("a"), 0o600)); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "wixl", "-o", "x.msi", "x.wxs")
	return dir
}

func parseFile(t *testing.T, path string) program.Identity {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	id, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestRealInstaller reads an MSI that wixl built.
func TestRealInstaller(t *testing.T) {
	id := parseFile(t, filepath.Join(build(t), "x.msi"))
	if id.Product != "Skype for Example" || id.Company != "Skype Technologies S.A." || id.Version != "8.9.10" || id.Kind != program.Installer ||
		id.Upgrade != "{87654321-1234-1234-1234-123456789012}" || id.Signers != nil {
		t.Errorf("got %+v", id)
	}
}

// TestSignedInstaller reads one that osslsigncode signed.
func TestSignedInstaller(t *testing.T) {
	dir := build(t)
	run(t, dir, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "30",
		"-subj", "/C=LU/O=Skype Software Sarl/CN=Skype Software Sarl", "-addext", "extendedKeyUsage=codeSigning")
	run(t, dir, "osslsigncode", "sign", "-certs", "c.pem", "-key", "k.pem", "-in", "x.msi", "-out", "y.msi")
	id := parseFile(t, filepath.Join(dir, "y.msi"))
	if len(id.Signers) != 1 || id.Signers[0].Subject != "CN=Skype Software Sarl,O=Skype Software Sarl,C=LU" || id.Product != "Skype for Example" {
		t.Errorf("got %+v", id)
	}
	if s := id.Signers[0]; !s.Verified || !s.SelfSigned || len(s.Key) != 64 {
		t.Errorf("the signature: %+v", s)
	}
	data, err := os.ReadFile(filepath.Join(dir, "y.msi"))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("Skype for Example"))
	data[at+6] ^= 1
	if id, err := Parse(data); err != nil || len(id.Signers) != 1 || id.Signers[0].Verified || id.Signers[0].Unverified != "the file is not the one that was signed" {
		t.Errorf("changed: %+v, %v", id, err)
	}
	run(t, dir, "osslsigncode", "sign", "-add-msi-dse", "-certs", "c.pem", "-key", "k.pem", "-in", "x.msi", "-out", "z.msi")
	if id := parseFile(t, filepath.Join(dir, "z.msi")); len(id.Signers) != 1 || id.Signers[0].Verified || !strings.Contains(id.Signers[0].Unverified, "not checked") {
		t.Errorf("with metadata: %+v", id)
	}
}

func TestGUID(t *testing.T) {
	b, err := guid("{000C1084-0000-0000-C000-000000000046}")
	if err != nil || !bytes.Equal(b, []byte{0x84, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}) {
		t.Errorf("%x, %v", b, err)
	}
	if _, err := guid("none"); err == nil {
		t.Error("no class was taken for one")
	}
}

func TestUnpackName(t *testing.T) {
	for packed, want := range map[string]string{
		"\u4840\u3f3f\u4577\u446c\u3b6a\u45e4\u4824": "!_StringData",
		"plain": "plain", "": "",
	} {
		if got := unpackName(packed); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// pool makes a string pool: a header and, for each string, its size and references.
func pool(flags uint16, strs ...string) (index, data []byte) {
	index = binary.LittleEndian.AppendUint16(index, 1252)
	index = binary.LittleEndian.AppendUint16(index, flags)
	for _, s := range strs {
		if len(s) > 0xffff {
			index = append(index, 0, 0, 1, 0)
			index = binary.LittleEndian.AppendUint32(index, uint32(len(s)))
		} else {
			index = binary.LittleEndian.AppendUint16(index, uint16(len(s)))
			index = append(index, 1, 0)
		}
		data = append(data, s...)
	}
	return index, data
}

func TestStringPool(t *testing.T) {
	long := string(make([]byte, 70000))
	index, data := pool(0x8000, "ProductName", long, "Example")
	strs, wide, err := stringPool(index, data)
	if err != nil || !wide || len(strs) != 4 || strs[1] != "ProductName" || len(strs[2]) != 70000 || strs[3] != "Example" {
		t.Fatalf("%d strings, wide %v, %v", len(strs), wide, err)
	}
	got := properties([]byte{1, 0, 0, 3, 0, 0}, strs, true)
	if got["ProductName"] != "Example" {
		t.Errorf("properties %v", got)
	}
	if got := properties([]byte{9, 9, 9, 9}, strs, false); got[""] != "" {
		t.Errorf("indices beyond the pool gave %v", got)
	}
	if _, _, err := stringPool(index, data[:5]); err == nil {
		t.Error("a cut pool was read")
	}
	if _, _, err := stringPool(nil, nil); err == nil {
		t.Error("no pool was read")
	}
}

func TestNotMSI(t *testing.T) {
	for _, data := range []string{"", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "plain text"} {
		if _, err := Parse([]byte(data)); err == nil {
			t.Errorf("%q was read", data)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + string(make([]byte, 1024))))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if len(data) <= 1<<20 {
			_, _ = Parse(data) // must end, whatever it says
		}
	})
}

func FuzzTables(f *testing.F) {
	index, data := pool(0, "ProductName", "Example")
	f.Add(index, data, []byte{1, 0, 2, 0})
	f.Fuzz(func(_ *testing.T, index, data, table []byte) {
		strs, wide, err := stringPool(index, data)
		if err == nil {
			properties(table, strs, wide)
		}
	})
}
