package bundle_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"

	files "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
)

var created = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// keys makes a key pair.
func keys(t testing.TB, name string) (secret, verifier string) {
	t.Helper()
	secret, verifier, err := bundle.NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return secret, verifier
}

func packed(t testing.TB, fsys fs.FS, secret string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := bundle.Pack(&b, fsys, bundle.Info{Serial: 7, Created: created, Expires: created.AddDate(0, 3, 0)}, secret); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func small() fstest.MapFS {
	return fstest.MapFS{
		"apps/pigeon.yaml":           {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\nnames: {service: [pigeon.example]}\n")},
		"samples/pigeon/labels.yaml": {Data: []byte("captures: []\n")},
		"README":                     {Data: []byte("not part of it")},
	}
}

// TestRoundTrip: what was packed comes out, and the same in makes the same bytes.
func TestRoundTrip(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	_, other := keys(t, "other.example.org")
	b := packed(t, files.Files, secret)
	if !bytes.Equal(b, packed(t, files.Files, secret)) {
		t.Error("the same catalog makes another bundle")
	}
	info, fsys, err := bundle.Open(b, []string{other, verifier})
	if err != nil {
		t.Fatal(err)
	}
	if info.Serial != 7 || !info.Created.Equal(created) || len(info.Signers) != 1 || info.Signers[0] != "catalog.example.org" {
		t.Errorf("%+v", info)
	}
	want, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	got, err := catalog.Load(fsys)
	if err != nil || got.Version() != want.Version() {
		t.Errorf("version %v, %v", got, err)
	}
	if s, err := catalog.LoadSamples(fsys); err != nil || len(s.Captures) < 10 {
		t.Errorf("samples: %v", err)
	}
	t.Logf("%d bytes, %d files", len(b), info.Files)
}

// TestUntrusted: no other key opens a bundle, and no key at all does not either.
func TestUntrusted(t *testing.T) {
	secret, _ := keys(t, "catalog.example.org")
	_, same := keys(t, "catalog.example.org")
	b := packed(t, small(), secret)
	for _, trusted := range [][]string{nil, {same}} {
		if _, _, err := bundle.Open(b, trusted); !errors.Is(err, bundle.ErrUntrusted) {
			t.Errorf("%v: %v", trusted, err)
		}
	}
	if _, _, err := bundle.Open(b, []string{"nonsense"}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Error(err)
	}
	if bundle.CheckKey(same) != nil || bundle.CheckKey("x") == nil {
		t.Error("CheckKey")
	}
}

// TestEveryBitIsSigned: no byte of a bundle can be changed, left out or added.
func TestEveryBitIsSigned(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	b := packed(t, small(), secret)
	refused := func(what string, b []byte) {
		t.Helper()
		if _, fsys, err := bundle.Open(b, []string{verifier}); err == nil || fsys != nil {
			t.Errorf("%s: opened", what)
		}
	}
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 0x20
		refused(fmt.Sprint("byte ", i), changed)
	}
	refused("cut", b[:len(b)-1])
	refused("longer", append(bytes.Clone(b), 0))
	refused("empty", nil)
	refused("another note's archive", append(b[:bytes.Index(b, []byte("PK"))], "PK"...))
}

// signedArchive signs any archive as a trusted key could that was lost.
func signedArchive(t testing.TB, secret string, n int, archive []byte, change ...string) []byte {
	t.Helper()
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(archive)
	text := fmt.Sprintf("chaperone catalog bundle/1\nserial 7\ncreated 2026-11-25T09:00:00Z\nexpires 2027-02-25T09:00:00Z\nfiles %d\nsize %d\nsha256 %s\n",
		n, len(archive), hex.EncodeToString(sum[:]))
	text = strings.NewReplacer(change...).Replace(text)
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return append(signed, archive...)
}

// zipped makes an archive of names with a byte each.
func zipped(t testing.TB, method uint16, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = f.Write([]byte("x"))
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

// TestSignedAndYetRefused: a signature is no reason to trust what is in it.
func TestSignedAndYetRefused(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	good := zipped(t, zip.Store, "apps/a.yaml", "apps/b.yaml")
	if _, _, err := bundle.Open(signedArchive(t, secret, 2, good), []string{verifier}); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"out of order":      signedArchive(t, secret, 2, zipped(t, zip.Store, "apps/b.yaml", "apps/a.yaml")),
		"twice":             signedArchive(t, secret, 2, zipped(t, zip.Store, "apps/a.yaml", "apps/a.yaml")),
		"more files":        signedArchive(t, secret, 1, good),
		"compressed":        signedArchive(t, secret, 1, zipped(t, zip.Deflate, "apps/a.yaml")),
		"out of the folder": signedArchive(t, secret, 1, zipped(t, zip.Store, "apps/../../a.yaml")),
		"absolute":          signedArchive(t, secret, 1, zipped(t, zip.Store, "/apps/a.yaml")),
		"another folder":    signedArchive(t, secret, 1, zipped(t, zip.Store, "bin/a.yaml")),
		"a folder":          signedArchive(t, secret, 1, zipped(t, zip.Store, "samples/x/y/z")),
		"no archive":        signedArchive(t, secret, 1, []byte("PK")),
		"serial 0":          signedArchive(t, secret, 2, good, "serial 7", "serial 0"),
		"serial 07":         signedArchive(t, secret, 2, good, "serial 7", "serial 07"),
		"expired at birth":  signedArchive(t, secret, 2, good, "expires 2027", "expires 2025"),
		"another version":   signedArchive(t, secret, 2, good, "bundle/1", "bundle/2"),
		"no time":           signedArchive(t, secret, 2, good, "created 2026", "created soon"),
		"another order":     signedArchive(t, secret, 2, good, "serial 7\ncreated 2026-11-25T09:00:00Z", "created 2026-11-25T09:00:00Z\nserial 7"),
	} {
		if _, fsys, err := bundle.Open(b, []string{verifier}); err == nil || fsys != nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// TestPackRefuses: what could never be opened is not packed.
func TestPackRefuses(t *testing.T) {
	secret, _ := keys(t, "catalog.example.org")
	good := bundle.Info{Serial: 1, Created: created, Expires: created.AddDate(0, 1, 0)}
	for _, c := range []struct {
		name   string
		fsys   fs.FS
		info   bundle.Info
		secret string
	}{
		{"no serial", small(), bundle.Info{Created: created, Expires: good.Expires}, secret},
		{"expired", small(), bundle.Info{Serial: 1, Created: created, Expires: created}, secret},
		{"no files", fstest.MapFS{}, good, secret},
		{"a file too large", fstest.MapFS{"apps/a.yaml": {Data: make([]byte, 2<<20)}}, good, secret},
		{"no key", small(), good, "PRIVATE+KEY"},
	} {
		if _, err := bundle.Pack(&bytes.Buffer{}, c.fsys, c.info, c.secret); err == nil {
			t.Errorf("%s: packed", c.name)
		}
	}
	for _, name := range []string{"", "a b", "a+b"} {
		if _, _, err := bundle.NewKey(name); err == nil {
			t.Errorf("a key named %q", name)
		}
	}
}

// FuzzOpen: whatever comes, and whatever a trusted key signed, nothing panics, and what opens is within its bounds.
func FuzzOpen(f *testing.F) {
	secret, verifier := keys(f, "catalog.example.org")
	whole := packed(f, small(), secret)
	f.Add(whole, false)
	f.Add(whole[:200], false)
	f.Add(zipped(f, zip.Store, "apps/a.yaml"), true)
	f.Add(zipped(f, zip.Deflate, "apps/a.yaml", "samples/a/b"), true)
	f.Fuzz(func(t *testing.T, b []byte, signed bool) {
		if signed {
			b = signedArchive(t, secret, 1, b)
		}
		_, fsys, err := bundle.Open(b, []string{verifier})
		if err != nil {
			return
		}
		if _, err := catalog.Load(fsys); err == nil {
			catalog.LoadSamples(fsys)
		}
	})
}
