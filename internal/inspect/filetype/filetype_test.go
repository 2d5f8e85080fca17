package filetype_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/filetype"
	"github.com/chaperone-im/chaperone/internal/inspect/inspecttest"
)

// pe is the smallest thing that is a PE by its signature.
func pe() []byte {
	b := make([]byte, 0x100)
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[0x3c:], 0x80)
	copy(b[0x80:], "PE\x00\x00")
	return b
}

func zipOf(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range names {
		f, err := w.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("content of " + n))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// locked sets the encryption flag of every entry, as an encrypting archiver does.
func locked(z []byte) []byte {
	for at := 0; at+10 < len(z); at++ {
		switch string(z[at : at+4]) {
		case "PK\x03\x04":
			z[at+6] |= 1
		case "PK\x01\x02":
			z[at+8] |= 1
		}
	}
	return z
}

func ole(stream string) []byte {
	b := make([]byte, 2048)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for i := range len(stream) {
		b[1024+2*i] = stream[i]
	}
	return b
}

func word(flags byte) []byte {
	b := ole("WordDocument")
	b[512], b[513], b[512+11] = 0xEC, 0xA5, flags
	return b
}

func TestConformance(t *testing.T) {
	inspecttest.Run(t, filetype.New(), &inspecttest.Bad{Item: inspecttest.File("photo.jpg", pe()), Hit: filetype.Disguised})
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		name  string
		body  []byte
		media string
		found string // hits and reasons
	}{
		{"a.txt", []byte("hello"), "text/plain", ""},
		{"a.txt", []byte("größer\u20ac"), "text/plain", ""},
		{"a.html", []byte("<!DOCTYPE html><p>"), "text/html", ""},
		{"a.svg", []byte("<svg xmlns=''></svg>"), "image/svg+xml", ""},
		{"a.png", []byte("\x89PNG\r\n\x1a\n...."), "image/png", ""},
		{"a.jpg", []byte("\x89PNG\r\n\x1a\n...."), "image/png", ""},
		{"a.bin", []byte{1, 2, 3}, "application/octet-stream", ""},
		{"a.exe", pe(), "application/vnd.microsoft.portable-executable", "executable-file"},
		{"photo.jpg", pe(), "application/vnd.microsoft.portable-executable", "executable-file disguised-file"},
		{"invoice.pdf.exe", pe(), "application/vnd.microsoft.portable-executable", "executable-file disguised-file"},
		{"invoice\u202egpj.exe", pe(), "application/vnd.microsoft.portable-executable", "executable-file disguised-file"},
		{"notes.txt", []byte("#!/bin/sh\nrm -rf /\n"), "text/x-script", "executable-file disguised-file"},
		{"run.ps1", []byte("Get-Item"), "text/plain", "executable-file"},
		{"run.bat. ", []byte("dir"), "text/plain", "executable-file"},
		{"a", []byte("\x7fELF\x02\x01"), "application/x-executable", "executable-file"},
		{"A.class", []byte("\xca\xfe\xba\xbe\x00\x00\x00\x37"), "application/java-vm", "executable-file"},
		{"fat", []byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"), "application/x-mach-binary", "executable-file"},
		{"a.docx", zipOf(t, "[Content_Types].xml", "word/document.xml"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ""},
		{"a.zip", zipOf(t, "a.txt"), "application/zip", ""},
		{"a.pdf", zipOf(t, "a.txt"), "application/zip", "disguised-file"},
		{"a.jar", zipOf(t, "META-INF/MANIFEST.MF"), "application/java-archive", "executable-file"},
		{"a.apk", zipOf(t, "AndroidManifest.xml"), "application/vnd.android.package-archive", "executable-file"},
		{"a.zip", locked(zipOf(t, "a.txt")), "application/zip", "encrypted"},
		{"a.zip", zipOf(t, "a.txt")[:60], "application/zip", "unparseable"},
		{"a.pdf", []byte("%PDF-1.7\n1 0 obj\ntrailer << /Root 1 0 R >>"), "application/pdf", ""},
		{"a.pdf", []byte("%PDF-1.7\n1 0 obj\ntrailer << /Encrypt 5 0 R >>"), "application/pdf", "encrypted"},
		{"a.docx", ole("EncryptedPackage"), "application/encrypted-office", "encrypted"},
		{"a.doc", word(0), "application/msword", ""},
		{"a.doc", word(1), "application/msword", "encrypted"},
		{"a.asc", []byte("-----BEGIN PGP MESSAGE-----\n"), "application/pgp-encrypted", "encrypted"},
		{"a.rar", []byte("Rar!\x1a\x07\x00\xcf\x90\x73\x80\x00\x0d\x00\x00\x00\x00\x00\x00\x00\x00"), "application/vnd.rar", "encrypted"},
		{"a.rar", []byte("Rar!\x1a\x07\x01\x00....\x21\x04\x00\x00\x01\x0f"), "application/vnd.rar", ""},
		{"a.rar", append([]byte("Rar!\x1a\x07\x01\x00....\x05\x04\x00\x00\x01\x0f"), make([]byte, 20)...), "application/vnd.rar", "encrypted"},
	} {
		item := inspecttest.File(c.name, c.body)
		out := filetype.New().Inspect(context.Background(), item)
		var found []string
		for _, h := range out.Hits {
			found = append(found, h.Name)
		}
		for _, n := range out.NotInspected {
			found = append(found, n.Reason)
		}
		if out.Type != c.media || strings.Join(found, " ") != c.found {
			t.Errorf("%q %.20q: %s %q, want %s %q", c.name, c.body, out.Type, found, c.media, c.found)
		}
	}
}

// TestRealArchivers asks files that the archivers of this machine made.
func TestRealArchivers(t *testing.T) {
	for _, c := range []struct{ tool, file, args string }{
		{"7z", "open.7z", "a open.7z in.txt"}, {"7z", "locked.7z", "a -psecret locked.7z in.txt"}, {"7z", "hidden.7z", "a -psecret -mhe=on hidden.7z in.txt"},
		{"zip", "open.zip", "open.zip in.txt"}, {"zip", "locked.zip", "-P secret locked.zip in.txt"}, {"7z", "aes.zip", "a -tzip -psecret -mem=AES256 aes.zip in.txt"},
		{"openssl", "locked.enc", "enc -aes-256-cbc -pbkdf2 -pass pass:secret -in in.txt -out locked.enc"},
	} {
		t.Run(c.file, func(t *testing.T) {
			path, err := exec.LookPath(c.tool)
			if err != nil {
				t.Skipf("%s is not installed", c.tool)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "in.txt"), bytes.Repeat([]byte("some text "), 100), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(path, strings.Fields(c.args)...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			body, err := os.ReadFile(filepath.Join(dir, c.file))
			if err != nil {
				t.Fatal(err)
			}
			out := filetype.New().Inspect(context.Background(), inspecttest.File(c.file, body))
			encrypted := len(out.NotInspected) == 1 && out.NotInspected[0].Reason == event.ReasonEncrypted
			if want := !strings.HasPrefix(c.file, "open"); encrypted != want {
				t.Errorf("encrypted %v, want %v (%+v)", encrypted, want, out)
			}
		})
	}
}

func FuzzInspect(f *testing.F) {
	for _, seed := range [][]byte{pe(), zipOf(f, "a", "word/x"), locked(zipOf(f, "a")), ole("EncryptedPackage"), word(1), []byte("%PDF-1/Encrypt "), []byte("7z\xbc\xaf\x27\x1c" + strings.Repeat("\x01", 40)), []byte("Rar!\x1a\x07\x01\x00....\x21\x02\x01\x02\x03\x04\x05\x06")} {
		f.Add("a.zip", seed)
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		out := filetype.New().Inspect(context.Background(), &inspect.Item{File: &event.File{Name: name}, Size: int64(len(body)), Body: bytes.NewReader(body)})
		if out.Type == "" {
			t.Error("no type")
		}
	})
}
