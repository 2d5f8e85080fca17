// Package bundle packs a catalog into one signed file, and opens such a file only when somebody who is trusted signed it.
//
// A bundle is a signed note (Ed25519, the form of golang.org/x/mod/sumdb/note, as the ledger's checkpoints are) followed by a zip archive
// without compression. The note says the bundle's serial number, when it was made, when it expires, and length and SHA-256 of the archive:
//
//	chaperone catalog bundle/1
//	serial 7
//	created 2026-11-25T00:00:00Z
//	expires 2027-02-23T00:00:00Z
//	files 63
//	size 412345
//	sha256 9f86d0…
//
//	— catalog.example.org AbCd…
//
// Nothing of the archive is looked at before the signature and the digest hold. The same files, numbers and key make the same bytes. Whether
// a serial number may follow another is for the one who keeps bundles to say (package rollout).
package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Bounds of a bundle.
const (
	MaxSize  = 32 << 20 // of the whole file
	maxNote  = 16 << 10
	maxFiles = 8192
	maxKeys  = 64
	maxFile  = 1 << 20
)

// header is the first line of the note.
const header = "chaperone catalog bundle/1"

// Errors of Open.
var (
	ErrNotBundle = errors.New("not a catalog bundle")
	ErrUntrusted = errors.New("no trusted key signed the bundle")
	ErrTampered  = errors.New("the bundle is not what was signed")
)

// Info is what a bundle says of itself, under its signature.
type Info struct {
	Serial  uint64    `json:"serial"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Files   int       `json:"files"`
	Size    int       `json:"size"`
	SHA256  string    `json:"sha256"`
	Signers []string  `json:"signers"` // names of the trusted keys that signed it
}

// NewKey makes a key pair for signing bundles: the secret key and the verifier, which configurations name.
func NewKey(name string) (secret, verifier string, err error) {
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return "", "", fmt.Errorf("key name %q: must be without spaces and plus signs, as catalog.example.org", name)
	}
	return note.GenerateKey(rand.Reader, name)
}

// Pack writes the catalog in files as a bundle, signed with the secret key. Serial, Created and Expires of info are taken, the rest is found.
func Pack(w io.Writer, files fs.FS, info Info, secret string) (Info, error) {
	signer, err := note.NewSigner(strings.TrimSpace(secret))
	if err != nil {
		return info, fmt.Errorf("pack bundle: key: %w", err)
	}
	if info.Serial == 0 || !info.Expires.After(info.Created) {
		return info, errors.New("pack bundle: the serial number must be at least 1, and the bundle must expire after it is made")
	}
	archive, n, err := archiveOf(files)
	if err != nil {
		return info, fmt.Errorf("pack bundle: %w", err)
	}
	sum := sha256.Sum256(archive)
	info.Files, info.Size, info.SHA256, info.Signers = n, len(archive), hex.EncodeToString(sum[:]), []string{signer.Name()}
	signed, err := note.Sign(&note.Note{Text: info.text()}, signer)
	if err != nil {
		return info, fmt.Errorf("pack bundle: sign: %w", err)
	}
	if len(signed)+len(archive) > MaxSize {
		return info, fmt.Errorf("pack bundle: %d bytes, must be at most %d", len(signed)+len(archive), MaxSize)
	}
	if _, err := w.Write(signed); err != nil {
		return info, fmt.Errorf("pack bundle: %w", err)
	}
	_, err = w.Write(archive)
	return info, err
}

func (i *Info) text() string {
	return fmt.Sprintf("%s\nserial %d\ncreated %s\nexpires %s\nfiles %d\nsize %d\nsha256 %s\n", header, i.Serial,
		i.Created.UTC().Format(time.RFC3339), i.Expires.UTC().Format(time.RFC3339), i.Files, i.Size, i.SHA256)
}

// archiveOf makes the archive: apps/*.yaml and samples/*/*, in the order of their names, at no time in particular.
func archiveOf(files fs.FS) ([]byte, int, error) {
	var names []string
	for _, pattern := range []string{"apps/*.yaml", "samples/*/*"} {
		found, err := fs.Glob(files, pattern)
		if err != nil {
			return nil, 0, err
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	if len(names) == 0 || len(names) > maxFiles {
		return nil, 0, fmt.Errorf("%d files, must be 1 to %d", len(names), maxFiles)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		body, err := readFile(files, name)
		if err != nil {
			return nil, 0, err
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(body)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	err := w.Close()
	return b.Bytes(), len(names), err
}

func readFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return b, err
}

// Open returns what a bundle says of itself and the files in it, when one of the verifiers' keys signed it and it is what was signed.
func Open(b []byte, verifiers []string) (Info, fs.FS, error) {
	if len(b) > MaxSize {
		return Info{}, nil, fmt.Errorf("%w: %d bytes, must be at most %d", ErrNotBundle, len(b), MaxSize)
	}
	known, err := verifierList(verifiers)
	if err != nil {
		return Info{}, nil, err
	}
	signed, archive, err := split(b)
	if err != nil {
		return Info{}, nil, err
	}
	opened, err := note.Open(signed, known)
	if err != nil {
		var unverified *note.UnverifiedNoteError
		if errors.As(err, &unverified) {
			return Info{}, nil, fmt.Errorf("%w; it is signed by %s", ErrUntrusted, signers(unverified.Note.UnverifiedSigs))
		}
		return Info{}, nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	info, err := parseInfo(opened.Text)
	if err != nil {
		return Info{}, nil, err
	}
	for _, s := range opened.Sigs {
		info.Signers = append(info.Signers, s.Name)
	}
	sum := sha256.Sum256(archive)
	if len(archive) != info.Size || hex.EncodeToString(sum[:]) != info.SHA256 {
		return info, nil, fmt.Errorf("%w: the archive has %d bytes and another digest or length than the note says", ErrTampered, len(archive))
	}
	files, err := openArchive(archive, info.Files)
	return info, files, err
}

func verifierList(texts []string) (note.Verifiers, error) {
	if len(texts) == 0 {
		return nil, fmt.Errorf("%w: no key is trusted (catalog.keys in the configuration)", ErrUntrusted)
	}
	if len(texts) > maxKeys {
		return nil, fmt.Errorf("%d trusted keys, must be at most %d", len(texts), maxKeys)
	}
	var list []note.Verifier
	for _, text := range texts {
		v, err := note.NewVerifier(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("trusted key %q: %w", text, err)
		}
		if !slices.ContainsFunc(list, func(x note.Verifier) bool { return x.Name() == v.Name() && x.KeyHash() == v.KeyHash() }) { // named twice
			list = append(list, v)
		}
	}
	return note.VerifierList(list...), nil
}

// CheckKey says what is wrong with a verifier.
func CheckKey(verifier string) error {
	_, err := verifierList([]string{verifier})
	return err
}

func signers(sigs []note.Signature) string {
	var names []string
	for _, s := range sigs {
		names = append(names, fmt.Sprintf("%q", s.Name))
	}
	return strings.Join(names, ", ")
}

// split parts the note from the archive: the note ends with the last of the lines that begin with a dash after an empty line.
func split(b []byte) (signed, archive []byte, err error) {
	head := b[:min(len(b), maxNote)]
	if !bytes.HasPrefix(head, []byte(header+"\n")) {
		return nil, nil, ErrNotBundle
	}
	end := bytes.Index(head, []byte("\n\n— "))
	if end < 0 {
		return nil, nil, fmt.Errorf("%w: its note has no signature", ErrNotBundle)
	}
	for end += 2; bytes.HasPrefix(head[end:], []byte("— ")); {
		line := bytes.IndexByte(head[end:], '\n')
		if line < 0 {
			return nil, nil, fmt.Errorf("%w: its note does not end", ErrNotBundle)
		}
		end += line + 1
	}
	return b[:end], b[end:], nil
}

// parseInfo reads the text of a note whose signature holds.
func parseInfo(text string) (Info, error) {
	var i Info
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	keys := []string{"serial", "created", "expires", "files", "size", "sha256"}
	if len(lines) != len(keys)+1 || lines[0] != header {
		return i, fmt.Errorf("%w: its note has another form; a newer program may know it", ErrNotBundle)
	}
	var errs []error
	for n, key := range keys {
		value, ok := strings.CutPrefix(lines[n+1], key+" ")
		if !ok {
			return i, fmt.Errorf("%w: line %d of its note is not %q", ErrNotBundle, n+2, key)
		}
		errs = append(errs, i.set(key, value))
	}
	if err := errors.Join(errs...); err != nil {
		return i, fmt.Errorf("%w: %w", ErrNotBundle, err)
	}
	if i.Serial == 0 || i.Files < 1 || i.Files > maxFiles || i.Size < 0 || i.Size > MaxSize || !i.Expires.After(i.Created) || i.text() != text {
		return i, fmt.Errorf("%w: a number or time of its note cannot be", ErrNotBundle)
	}
	return i, nil
}

func (i *Info) set(key, value string) (err error) {
	switch key {
	case "serial":
		i.Serial, err = strconv.ParseUint(value, 10, 63)
	case "created":
		i.Created, err = time.Parse(time.RFC3339, value)
	case "expires":
		i.Expires, err = time.Parse(time.RFC3339, value)
	case "files":
		i.Files, err = strconv.Atoi(value)
	case "size":
		i.Size, err = strconv.Atoi(value)
	default:
		i.SHA256 = value
	}
	return err
}

// openArchive opens what was signed. Even a trusted signer's archive is held to its bounds, because keys are lost.
func openArchive(b []byte, files int) (fs.FS, error) {
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotBundle, err)
	}
	if len(r.File) != files {
		return nil, fmt.Errorf("%w: %d files, and its note says %d", ErrNotBundle, len(r.File), files)
	}
	for n, f := range r.File {
		switch {
		case !goodName(f.Name):
			return nil, fmt.Errorf("%w: %q is no file of a catalog", ErrNotBundle, f.Name)
		case n > 0 && r.File[n-1].Name >= f.Name:
			return nil, fmt.Errorf("%w: %q is out of order", ErrNotBundle, f.Name)
		case f.Method != zip.Store || f.UncompressedSize64 > maxFile || f.Mode()&fs.ModeType != 0:
			return nil, fmt.Errorf("%w: %q is compressed, too large or no plain file", ErrNotBundle, f.Name)
		}
	}
	return r, nil
}

// goodName reports whether a catalog has files of that name.
func goodName(name string) bool {
	if !fs.ValidPath(name) || len(name) > 256 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }) {
		return false
	}
	app, _ := path.Match("apps/*.yaml", name)
	sample, _ := path.Match("samples/*/*", name)
	return app || sample
}
