package appx_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/appx"
)

type file struct{ name, body string }

func parts() []file {
	return []file{
		{"a.exe", strings.Repeat("MZ", 500)},
		{"AppxManifest.xml", `<Package><Identity Name="a.b" Publisher="CN=Example" Version="1.0.0.0"/></Package>`},
		{"AppxBlockMap.xml", `<BlockMap HashMethod="http://www.w3.org/2001/04/xmlenc#sha256"></BlockMap>`},
		{"[Content_Types].xml", `<Types><Default Extension="exe" ContentType="application/x-msdownload"/></Types>`},
	}
}

func pack(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		p, err := w.Create(f.name)
		if err == nil {
			_, err = p.Write([]byte(f.body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// signed lets a real tool sign a package.
func signed(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, tool := range []string{"osslsigncode", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CHAPERONE_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip(tool + " is not installed")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.msix"), pack(t, parts()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{
		{"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "30", "-subj", "/O=Example/CN=Example", "-addext", "extendedKeyUsage=codeSigning"},
		{"osslsigncode", "sign", "-h", "sha256", "-certs", "c.pem", "-key", "k.pem", "-in", "a.msix", "-out", "b.msix"},
	} {
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			if words[0] == "osslsigncode" && !knowsMSIX() {
				t.Skip("this osslsigncode is older than 2.6, which is the first that signs packages")
			}
			t.Fatalf("%s: %v\n%s", words[0], err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "b.msix"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func knowsMSIX() bool {
	var major, minor int
	out, _ := exec.Command("osslsigncode", "--version").CombinedOutput() // it says its version and fails, in some versions
	_, _ = fmt.Sscanf(string(out), "osslsigncode %d.%d", &major, &minor)
	return major > 2 || major == 2 && minor >= 6
}

func sign(data []byte) program.Signer {
	id := program.Identity{Signers: []program.Signer{{Subject: "CN=claimed", Unverified: "not checked"}}}
	appx.Sign(data, &id)
	return id.Signers[0]
}

func TestSigned(t *testing.T) {
	good := signed(t)
	if s := sign(good); !s.Verified || s.Unverified != "" || !s.SelfSigned || !strings.Contains(s.Subject, "O=Example") {
		t.Fatalf("%+v", s)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"program":           func(b []byte) []byte { b[60] ^= 1; return b },
		"name of a member":  func(b []byte) []byte { b[bytes.Index(b, []byte("a.exe"))] = 'b'; return b },
		"directory":         func(b []byte) []byte { b[bytes.LastIndex(b, []byte("a.exe"))] = 'b'; return b },
		"directory's times": func(b []byte) []byte { b[bytes.Index(b, []byte("PK\x01\x02"))+12] ^= 1; return b },
		"count":             func(b []byte) []byte { b[len(b)-22+8]++; return b },
		"comment": func(b []byte) []byte {
			binary.LittleEndian.PutUint16(b[len(b)-2:], 3)
			return append(b, "abc"...)
		},
		"something behind": func(b []byte) []byte { return append(b, pack(t, parts())...) },
		"something before": func(b []byte) []byte { return append([]byte("MZ"), b...) },
	} {
		if s := sign(change(bytes.Clone(good))); s.Verified || s.Unverified == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	t.Run("one more member", func(t *testing.T) {
		z, err := zip.NewReader(bytes.NewReader(good), int64(len(good)))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, f := range z.File {
			if err := w.Copy(f); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Create("c.exe"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if s := sign(b.Bytes()); s.Verified || s.Unverified != "the file is not the one that was signed" {
			t.Errorf("%+v", s)
		}
	})
}

// TestUnsigned keeps what the manifest says as a claim.
func TestUnsigned(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		why  string
	}{
		"no signature": {pack(t, parts()), "the package is not signed"},
		"no zip":       {[]byte("no zip"), "appx: zip: not a valid zip file"},
		"no magic":     {pack(t, append(parts(), file{"AppxSignature.p7x", "0"})), "appx: the signature has no magic"},
		"too large":    {pack(t, append(parts(), file{"AppxSignature.p7x", strings.Repeat("PKCX", 1<<19)})), "appx: a file that is signed is too large"},
	} {
		if s := sign(c.data); s.Verified || s.Unverified != c.why || s.Subject != "CN=claimed" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	id := program.Identity{}
	if appx.Sign(pack(t, parts()), &id); len(id.Signers) != 0 {
		t.Errorf("%+v", id.Signers)
	}
}

func FuzzSign(f *testing.F) {
	f.Add(pack(f, parts()))
	f.Add(pack(f, append(parts(), file{"AppxSignature.p7x", "PKCX0"})))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s := sign(data); s.Verified {
			t.Errorf("verified: %+v", s)
		}
	})
}
