// Package object keeps files, each sealed under its own random key and a random name, in one folder.
//
// Key and name stand only in the sealed content of the record that brought the file: when that record is destroyed the file is noise. What
// can be read from outside are a random name and the SHA-256 of the sealed bytes, so that anybody can verify the file without any key.
package object

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// ErrNotFound says that there is no object of that name.
var ErrNotFound = fmt.Errorf("object: not there: %w", fs.ErrNotExist)

// Store is a folder of sealed files.
type Store struct {
	dir   string
	limit int64
}

// DefaultLimit is the largest file kept when Options do not say otherwise.
const DefaultLimit = 16 << 30

const newPrefix = ".new-"

// Open opens or creates the store in dir/objects. Files beyond limit bytes are refused; 0 means DefaultLimit.
func Open(dir string, limit int64) (*Store, error) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	s := &Store{dir: filepath.Join(dir, "objects"), limit: limit}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open objects: %w", err)
	}
	return s, nil
}

// Sweep removes what an interrupted Put left behind. Only the process that holds the journal's lock may call it, before its first Put.
func (s *Store) Sweep() error {
	found, err := filepath.Glob(filepath.Join(s.dir, newPrefix+"*"))
	for _, path := range found {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Put seals what r gives under a new key and keeps it. When it returns nil the object survives power loss, and Object, Sealed, Key, Size
// and SHA256 of f say all that is needed to find, open and check it.
func (s *Store) Put(ctx context.Context, f *event.File, r io.Reader) error {
	if err := s.put(ctx, f, r); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w: %w", journal.ErrFull, err)
		}
		return fmt.Errorf("keep object: %w", err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, f *event.File, r io.Reader) error {
	key := make([]byte, chacha20poly1305.KeySize)
	rand.Read(key)
	name := event.RandomID()
	c, err := chacha20poly1305.New(key)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(s.dir, newPrefix+name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	sealed := sha256.New()
	in := &source{ctx: ctx, in: r, left: s.limit, sum: sha256.New()}
	size, err := encrypt(io.MultiWriter(out, sealed), in, c)
	if err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := s.publish(out.Name(), name); err != nil {
		return err
	}
	f.Object, f.Key, f.Sealed = name, key, hex.EncodeToString(sealed.Sum(nil))
	f.Size, f.SHA256 = size, hex.EncodeToString(in.sum.Sum(nil))
	return nil
}

// publish gives a finished file its name, durably.
func (s *Store) publish(from, name string) error {
	folder := filepath.Join(s.dir, name[:2])
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(from, s.path(name)); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(folder), durable.SyncDir(s.dir))
}

// source reads the file to be kept, within the limit and until the context ends.
type source struct {
	ctx  context.Context
	in   io.Reader
	left int64
	sum  hash.Hash
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.in.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return 0, journal.ErrTooLarge
	}
	s.sum.Write(p[:n])
	return n, err
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name[:2], name) }

// validName reports whether a name is one that Put gives: it comes from records, which another system may have written.
func validName(name string) bool {
	return len(name) == 32 && strings.Trim(name, "0123456789abcdef") == ""
}

// Get opens the object of f. Reading gives only bytes that were verified; ErrDamaged where they do not verify.
func (s *Store) Get(_ context.Context, f *event.File) (io.ReadCloser, error) {
	if !validName(f.Object) {
		return nil, fmt.Errorf("object %q: %w", f.Object, ErrNotFound)
	}
	c, err := chacha20poly1305.New(f.Key)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", f.Object, err)
	}
	in, err := os.Open(s.path(f.Object))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("object %s: %w", f.Object, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	return &opened{newDecrypter(in, c), in}, nil
}

type opened struct {
	*decrypter
	io.Closer
}

// Delete removes an object. Removing it again is no error.
func (s *Store) Delete(_ context.Context, name string) error {
	if !validName(name) {
		return fmt.Errorf("object %q: %w", name, ErrNotFound)
	}
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete object: %w", err)
	}
	err := durable.SyncDir(filepath.Dir(s.path(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
