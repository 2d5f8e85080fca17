// Package release says what a release of this program is: a package of the system, and a signed note that names it.
//
// The note (Ed25519, the form of golang.org/x/mod/sumdb/note, as the ledger's checkpoints and the catalog's bundles are) has one line of JSON as its
// text: format and architecture of the package, its name and version as it says them itself, its size and SHA-256, and when the note was made. Nothing
// else is taken for a release: the line has one form, and its type keeps it apart from all else that a key may have signed.
//
// The key is that of whoever builds packages, and is on no server. A server that hands releases on reads the note without proof (Peek); an agent
// takes nothing but what Open proves.
package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Package is the name of every package of this program.
const Package = "chaperone"

// Formats of packages.
const (
	Deb = "deb"
	RPM = "rpm"
)

// Bounds of what is taken for a release.
const (
	MaxSize = 128 << 20 // of a package
	MaxNote = 4 << 10
	maxWord = 64
)

const manifestType = "chaperone release/1"

// Errors of releases.
var (
	ErrUntrusted = errors.New("not signed by the release key of this machine's configuration")
	ErrMalformed = errors.New("this is no release")
)

// Manifest is what is signed of a package. The order of the fields is the order of their names.
type Manifest struct {
	Architecture string    `json:"architecture"` // as the package says it: amd64, x86_64
	Format       string    `json:"format"`
	Made         time.Time `json:"made"`
	Package      string    `json:"package"`
	SHA256       string    `json:"sha256"`
	Size         int64     `json:"size"`
	Type         string    `json:"type"`
	Version      string    `json:"version"` // as the package says it
}

// text is what is signed: the one form that a manifest has.
func (m Manifest) text() (string, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("release: %w", err)
	}
	return string(b) + "\n", nil
}

// check says what of a manifest cannot be.
func (m Manifest) check() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }
	sum, err := hex.DecodeString(m.SHA256)
	switch {
	case m.Type != manifestType:
		return bad("another type of note")
	case m.Package != Package:
		return bad(fmt.Sprintf("package %.64q, which is not %s", m.Package, Package))
	case m.Format != Deb && m.Format != RPM:
		return bad("a format that is neither deb nor rpm")
	case !word(m.Architecture, "_-"):
		return bad("architecture")
	case !Version(m.Version):
		return bad("version")
	case m.Size <= 0 || m.Size > MaxSize:
		return bad(fmt.Sprintf("%d bytes, where a package has at most %d", m.Size, MaxSize))
	case err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != m.SHA256:
		return bad("SHA-256")
	case m.Made.IsZero() || !m.Made.Equal(m.Made.Truncate(time.Second)) || m.Made.Location() != time.UTC:
		return bad("time")
	}
	return nil
}

// Version reports whether a text can be the version of a package: what dpkg and rpm compare, and nothing that means more to a program it is given to.
func Version(s string) bool {
	return word(s, ".+~^:_-") && s[0] != '-'
}

// word reports whether s is of ASCII letters, digits and some marks.
func word(s, marks string) bool {
	return s != "" && len(s) <= maxWord && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune(marks, r)
	})
}

// parse reads the text of a note; it takes no other form than that which text writes.
func parse(text string) (Manifest, error) {
	var m Manifest
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m.Made = m.Made.UTC()
	if err := m.check(); err != nil {
		return Manifest{}, err
	}
	if again, err := m.text(); err != nil || again != text {
		return Manifest{}, fmt.Errorf("%w: written in another form", ErrMalformed)
	}
	return m, nil
}

// Of describes a package in a file whose name, version and architecture are known.
func Of(path, format, name, version, architecture string, made time.Time) (Manifest, error) {
	sum, size, err := Digest(path)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Architecture: architecture, Format: format, Made: made.UTC().Truncate(time.Second), Package: name, SHA256: sum, Size: size, Type: manifestType, Version: version}
	return m, m.check()
}

// Digest returns SHA-256 and size of a file, which may be as large as a package.
func Digest(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, io.LimitReader(f, MaxSize+1)); err != nil {
		return "", 0, err
	}
	if size > MaxSize {
		return "", 0, fmt.Errorf("%s: larger than %d bytes", path, MaxSize)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// Sign signs a manifest with a secret key and returns the note.
func Sign(m Manifest, secret string) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(strings.TrimSpace(secret))
	if err != nil {
		return nil, fmt.Errorf("release key: %w", err)
	}
	text, err := m.text()
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: text}, signer)
}

// Open returns the manifest in a note that the key with that verifier signed.
func Open(signed []byte, verifier string) (Manifest, error) {
	if len(signed) > MaxNote {
		return Manifest{}, fmt.Errorf("%w: a note of %d bytes", ErrMalformed, len(signed))
	}
	v, err := note.NewVerifier(strings.TrimSpace(verifier))
	if err != nil {
		return Manifest{}, fmt.Errorf("release key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return parse(n.Text)
}

// Peek returns the manifest in a note, and the names of the keys that it says signed it, without proof of anything.
func Peek(signed []byte) (m Manifest, keys []string, err error) {
	if len(signed) > MaxNote {
		return m, nil, fmt.Errorf("%w: a note of %d bytes", ErrMalformed, len(signed))
	}
	_, err = note.Open(signed, note.VerifierList())
	var unproven *note.UnverifiedNoteError
	if !errors.As(err, &unproven) || len(unproven.Note.UnverifiedSigs) == 0 {
		return m, nil, fmt.Errorf("%w: no signed note", ErrMalformed)
	}
	for _, s := range unproven.Note.UnverifiedSigs {
		keys = append(keys, s.Name)
	}
	slices.Sort(keys)
	m, err = parse(unproven.Note.Text)
	return m, keys, err
}

// ID names a release among offers: the SHA-256 of its note.
func ID(signed []byte) string {
	sum := sha256.Sum256(bytes.TrimRight(signed, "\n"))
	return hex.EncodeToString(sum[:])
}
