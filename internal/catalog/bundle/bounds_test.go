package bundle_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
)

// TestSeveralSigners: a bundle that two keys signed opens by either, and names those that are trusted.
func TestSeveralSigners(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	second, other := keys(t, "other.example.org")
	_, stranger := keys(t, "stranger.example.org")
	b := packed(t, small(), secret)
	at := bytes.Index(b, []byte("PK"))
	known, err := note.NewVerifier(verifier)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(b[:at], note.VerifierList(known))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(second)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(opened, signer)
	if err != nil {
		t.Fatal(err)
	}
	both := append(signed, b[at:]...)
	for _, c := range []struct{ trusted, want []string }{
		{[]string{verifier}, []string{"catalog.example.org"}},
		{[]string{stranger, other}, []string{"other.example.org"}},
		{[]string{verifier, other}, []string{"catalog.example.org", "other.example.org"}},
	} {
		info, _, err := bundle.Open(both, c.trusted)
		slices.Sort(info.Signers)
		if err != nil || !slices.Equal(info.Signers, c.want) {
			t.Errorf("%v: signed by %v, %v", c.want, info.Signers, err)
		}
	}
	if _, _, err := bundle.Open(both, []string{stranger}); !errors.Is(err, bundle.ErrUntrusted) || !strings.Contains(err.Error(), "other.example.org") {
		t.Errorf("a stranger's trust: %v", err)
	}
}

// TestTrustedKeys: what is no key is said, and lists are bounded.
func TestTrustedKeys(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	b := packed(t, small(), secret)
	if err := bundle.CheckKey("  " + verifier + "\n"); err != nil {
		t.Errorf("a key with spaces around it: %v", err)
	}
	for _, bad := range []string{"", "x", secret, verifier[:len(verifier)-4]} {
		if err := bundle.CheckKey(bad); err == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
	if _, _, err := bundle.Open(b, slices.Repeat([]string{verifier}, 1000)); err == nil {
		t.Error("a thousand keys are trusted")
	}
	if _, _, err := bundle.Open(b, nil); !errors.Is(err, bundle.ErrUntrusted) {
		t.Errorf("no keys: %v", err)
	}
}

// TestNotesThatAreNone: what never was a bundle is called so, and not a forgery.
func TestNotesThatAreNone(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	b := packed(t, small(), secret)
	head := "chaperone catalog bundle/1\n"
	for name, text := range map[string]string{
		"text": "a letter\n", "header alone": head, "no signature": head + "serial 1\n\nand more", "signature without an end": head + "\n— name " + strings.Repeat("A", 100),
		"too large": string(b) + strings.Repeat("x", bundle.MaxSize), "signature beyond the note": head + strings.Repeat("x", 1<<20) + "\n\n— a b\n",
	} {
		if _, fsys, err := bundle.Open([]byte(text), []string{verifier}); !errors.Is(err, bundle.ErrNotBundle) || fsys != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := zipped(t, zip.Store, "apps/a.yaml")
	for name, change := range map[string][]string{
		"size beyond all":   {"size ", "size 99999999"},
		"negative size":     {"size ", "size -"},
		"no files":          {"files 1", "files 0"},
		"too many files":    {"files 1", "files 99999999"},
		"huge serial":       {"serial 7", "serial 18446744073709551616"},
		"time of a zone":    {"T09:00:00Z\nexpires", "T10:00:00+01:00\nexpires"},
		"one line more":     {"serial 7", "serial 7\nserial 7"},
		"upper case digest": {"sha256 ", "sha256 A"},
	} {
		if _, fsys, err := bundle.Open(signedArchive(t, secret, 1, good, change...), []string{verifier}); err == nil || fsys != nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// TestNamesInABundle: a lost key signs no name that a catalog does not have, nor one that means something else elsewhere.
func TestNamesInABundle(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	for name, good := range map[string]bool{
		"apps/a.yaml": true, "samples/a/b.pcap": true,
		"apps/a.yml": false, `apps/..\a.yaml`: false, "apps/\x1b[31m.yaml": false, "apps/ä.yaml": false, "apps//a.yaml": false, "apps/./a.yaml": false, "apps/b/": false,
		"apps/" + strings.Repeat("a", 300) + ".yaml": false, "samples/a": false, "": false,
	} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		if _, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := bundle.Open(signedArchive(t, secret, 1, b.Bytes()), []string{verifier}); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestLinksAndBombs: a link is no file of a catalog, nor is one that says it is larger than a file may be.
func TestLinksAndBombs(t *testing.T) {
	secret, verifier := keys(t, "catalog.example.org")
	link := &zip.FileHeader{Name: "apps/a.yaml", Method: zip.Store}
	link.SetMode(fs.ModeSymlink | 0o777)
	bomb := &zip.FileHeader{Name: "apps/a.yaml", Method: zip.Store, UncompressedSize64: 1 << 40, CompressedSize64: 1}
	for _, h := range []*zip.FileHeader{link, bomb} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.CreateRaw(h)
		if err == nil {
			_, err = f.Write([]byte("x"))
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		if _, fsys, err := bundle.Open(signedArchive(t, secret, 1, b.Bytes()), []string{verifier}); !errors.Is(err, bundle.ErrNotBundle) || fsys != nil {
			t.Errorf("%v: %v", h.Mode(), err)
		}
	}
}

// full is a disk that takes so many bytes.
type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

// TestPackSaysThatItCouldNotWrite: neither the note nor the archive may be missing unsaid.
func TestPackSaysThatItCouldNotWrite(t *testing.T) {
	secret, _ := keys(t, "catalog.example.org")
	info := bundle.Info{Serial: 1, Created: created, Expires: created.AddDate(0, 1, 0)}
	for _, room := range []int{0, 500} {
		if _, err := bundle.Pack(&full{room}, small(), info, secret); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
	large := fstest.MapFS{}
	for i := range 64 {
		large["samples/a/"+string(rune('A'+i))] = &fstest.MapFile{Data: make([]byte, 1<<20)}
	}
	if _, err := bundle.Pack(&bytes.Buffer{}, large, info, secret); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("64 MiB: %v", err)
	}
}
