package release_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
)

func keys(t testing.TB) (secret, verifier string) {
	t.Helper()
	secret, verifier, err := note.GenerateKey(rand.Reader, "release.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return secret, verifier
}

var made = time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)

func manifest(t testing.TB) release.Manifest {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(path, []byte("a package"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := release.Of(path, release.Deb, "chaperone", "1.2.3-1~rc1", "amd64", made)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEveryBitIsSigned: a release opens by its key, as what was signed; no byte of it can be changed, and nobody else can sign it.
func TestEveryBitIsSigned(t *testing.T) {
	secret, verifier := keys(t)
	_, other := keys(t)
	m := manifest(t)
	signed, err := release.Sign(m, secret+"\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := release.Open(signed, verifier+"\n")
	if err != nil || got != m || got.Size != 9 {
		t.Fatalf("%+v, %v", got, err)
	}
	if peeked, names, err := release.Peek(signed); err != nil || peeked != m || strings.Join(names, " ") != "release.example.org" {
		t.Errorf("%+v by %v, %v", peeked, names, err)
	}
	if _, err := release.Open(signed, other); !errors.Is(err, release.ErrUntrusted) {
		t.Errorf("another key: %v", err)
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 0x20
		if _, err := release.Open(changed, verifier); err == nil {
			t.Fatalf("byte %d can be changed", i)
		}
	}
	if _, err := release.Open(append(signed, make([]byte, release.MaxNote)...), verifier); !errors.Is(err, release.ErrMalformed) {
		t.Errorf("a huge one: %v", err)
	}
	if _, err := release.Open(signed, "no key"); err == nil {
		t.Error("what is no key opens it")
	}
}

// TestOnlyReleases: what the right key signed is refused where it is no release of this program, or written in another form.
func TestOnlyReleases(t *testing.T) {
	secret, verifier := keys(t)
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := release.Sign(manifest(t), secret)
	if err != nil {
		t.Fatal(err)
	}
	good, _, _ := strings.Cut(string(signed), "\n\n")
	good += "\n"
	for name, text := range map[string]string{
		"another type":        strings.Replace(good, "release/1", "bundle/1", 1),
		"another program":     strings.Replace(good, `"package":"chaperone"`, `"package":"sudo"`, 1),
		"another format":      strings.Replace(good, `"deb"`, `"snap"`, 1),
		"no version":          strings.Replace(good, "1.2.3-1~rc1", "", 1),
		"a macro for version": strings.Replace(good, "1.2.3-1~rc1", "%(id)", 1),
		"an option":           strings.Replace(good, "1.2.3-1~rc1", "--root", 1),
		"a path":              strings.Replace(good, "1.2.3-1~rc1", "../../x", 1),
		"no architecture":     strings.Replace(good, "amd64", "", 1),
		"too large":           strings.Replace(good, `"size":9`, `"size":134217729`, 1),
		"empty":               strings.Replace(good, `"size":9`, `"size":0`, 1),
		"negative":            strings.Replace(good, `"size":9`, `"size":-9`, 1),
		"another zone":        strings.Replace(good, "06:00:00Z", "07:00:00+01:00", 1),
		"fractions":           strings.Replace(good, "06:00:00Z", "06:00:00.5Z", 1),
		"one field more":      strings.Replace(good, `"type"`, `"root":"/","type"`, 1),
		"a field twice":       strings.Replace(good, `"size":9`, `"size":9,"size":9`, 1),
		"blanks":              strings.Replace(good, ",", ", ", 1),
		"two lines":           good + good,
		"no JSON":             "chaperone\n",
		"a list":              "[" + strings.TrimSuffix(good, "\n") + "]\n",
	} {
		if text == good {
			t.Fatalf("%s: not changed", name)
		}
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := release.Open(signed, verifier); !errors.Is(err, release.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := release.Peek(signed); !errors.Is(err, release.ErrMalformed) {
			t.Errorf("%s, peeked: %v", name, err)
		}
	}
	for name, raw := range map[string]string{"nothing": "", "no signature": good, "a huge one": strings.Repeat("x", release.MaxNote+1)} {
		if _, _, err := release.Peek([]byte(raw)); !errors.Is(err, release.ErrMalformed) {
			t.Errorf("%s, peeked: %v", name, err)
		}
	}
}

// TestWhatCannotBeSigned is refused before it is.
func TestWhatCannotBeSigned(t *testing.T) {
	secret, verifier := keys(t)
	m := manifest(t)
	m.Package = "another"
	if _, err := release.Sign(m, secret); !errors.Is(err, release.ErrMalformed) {
		t.Error(err)
	}
	if _, err := release.Sign(manifest(t), verifier); err == nil {
		t.Error("a public key signs")
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, release.MaxSize+1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{big, filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if _, err := release.Of(path, release.Deb, "chaperone", "1", "amd64", made); err == nil {
			t.Errorf("%s is taken for a package", path)
		}
	}
	if a, b := release.ID([]byte("a\n")), release.ID([]byte("a")); a != b || len(a) != 64 {
		t.Error(a, b)
	}
}

// FuzzManifest: what the right key signed is held to its bounds all the same, and has one form.
func FuzzManifest(f *testing.F) {
	secret, verifier := keys(f)
	signer, err := note.NewSigner(secret)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := release.Sign(manifest(f), secret)
	if err != nil {
		f.Fatal(err)
	}
	text, _, _ := strings.Cut(string(signed), "\n\n")
	f.Add(text + "\n")
	f.Add(strings.Replace(text, "deb", "rpm", 1) + "\n")
	f.Add("{}\n")
	f.Fuzz(func(t *testing.T, text string) {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			return
		}
		m, err := release.Open(signed, verifier)
		peeked, _, failed := release.Peek(signed)
		if (err == nil) != (failed == nil) || peeked != m {
			t.Errorf("%q: proven %v, peeked %v", text, err, failed)
		}
		if err != nil {
			return
		}
		again, err := release.Sign(m, secret)
		if err != nil || !bytes.Equal(again, signed) || m.Size > release.MaxSize || !release.Version(m.Version) {
			t.Errorf("%q has another form than %q (%v)", signed, again, err)
		}
	})
}

// FuzzPeek: whatever a server is given to offer, it answers within its bounds.
func FuzzPeek(f *testing.F) {
	secret, _ := keys(f)
	signed, err := release.Sign(manifest(f), secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte("{}\n\n— a AAAAAA==\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, keys, err := release.Peek(raw); err == nil && (m.Package != release.Package || len(keys) == 0) {
			t.Errorf("%q: %+v by %v", raw, m, keys)
		}
	})
}
