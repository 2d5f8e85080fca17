// Package kept keeps, for a holder of the execution control that starts anew, which programs of the system its workers allowed: without, each
// of them would have to be looked at again, and a machine that is slow would refuse some of them meanwhile.
//
// The file is flat, bounded, and worth nothing elsewhere: it counts for one start of the machine, one policy generation and one binary, which
// its ID says, and only where it is whole and belongs to us. It holds keys, no names: a file that changed since has another key. What may go in is
// for the caller to know: files that only root can change, on file systems that are there as long as the machine runs.
package kept

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Most is how many files are kept. A machine has some thousand programs.
const Most = 1 << 14

const (
	magic     = "CHKEPT1\n"
	entrySize = 32
	headSize  = len(magic) + sha256.Size
	maxSize   = headSize + Most*entrySize + sha256.Size
)

// ID says what the files were allowed under.
type ID [sha256.Size]byte

// IDOf returns the ID of a start of the machine (its boot id), a policy generation and the binary that decided.
func IDOf(boot string, generation uint64, binary wire.Key) ID {
	return sha256.Sum256(fmt.Appendf(nil, "%q %d %+v", boot, generation, binary))
}

// Store is what is kept in one file. It is safe for concurrent use.
type Store struct {
	path string

	mu      sync.Mutex
	id      ID
	keys    map[wire.Key]struct{}
	changed bool
}

// Open returns what was kept at a path under an ID. Where that is nothing, or something of another ID, the store is empty; an error says that
// the file is not as it was left, and the store is empty too.
func Open(path string, id ID) (*Store, error) {
	s := &Store{path: path, id: id, keys: map[wire.Key]struct{}{}}
	b, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		s.changed = true // it is written anew
		return s, fmt.Errorf("kept: %w", err)
	}
	of, keys, err := parse(b)
	if err != nil {
		s.changed = true
		return s, fmt.Errorf("%s: %w", path, err)
	}
	if of != id {
		return s, nil
	}
	for _, k := range keys {
		s.keys[k] = struct{}{}
	}
	return s, nil
}

// read reads a file that only we can have written.
func read(path string) ([]byte, error) {
	f, err := outside.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 || st.Size > int64(maxSize) {
		return nil, fmt.Errorf("%s: %w", path, ErrFile)
	}
	b := make([]byte, st.Size)
	_, err = f.ReadAt(b, 0)
	return b, err
}

// ErrFile says that a file is none of ours, or not whole.
var ErrFile = errors.New("kept: damaged, or somebody else's")

func parse(b []byte) (id ID, keys []wire.Key, err error) {
	body := len(b) - headSize - sha256.Size
	if body < 0 || len(b) > maxSize || body%entrySize != 0 || string(b[:len(magic)]) != magic {
		return id, nil, ErrFile
	}
	text, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(text); !bytes.Equal(got[:], sum) {
		return id, nil, ErrFile
	}
	id = ID(text[len(magic):headSize])
	for e := range slices.Chunk(text[headSize:], entrySize) {
		at := func(i int) uint64 { return binary.LittleEndian.Uint64(e[8*i:]) }
		keys = append(keys, wire.Key{Dev: at(0), Ino: at(1), Size: int64(at(2)), Changed: int64(at(3))})
	}
	return id, keys, nil
}

// Keys are the files that are kept.
func (s *Store) Keys() []wire.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sorted()
}

func (s *Store) sorted() []wire.Key {
	out := make([]wire.Key, 0, len(s.keys))
	for k := range s.keys {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b wire.Key) int {
		return cmp.Or(cmp.Compare(a.Dev, b.Dev), cmp.Compare(a.Ino, b.Ino), cmp.Compare(a.Size, b.Size), cmp.Compare(a.Changed, b.Changed))
	})
	return out
}

// Add keeps a file that was allowed under an ID, which must be the one in force. It waits for no disk. When there is no room all begins anew.
func (s *Store) Add(id ID, k wire.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keys[k]; ok || id != s.id {
		return
	}
	if len(s.keys) >= Most {
		clear(s.keys)
	}
	s.keys[k] = struct{}{}
	s.changed = true
}

// Renew puts another ID in force: what was kept under the last is forgotten.
func (s *Store) Renew(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.id {
		s.id, s.changed = id, true
		clear(s.keys)
	}
}

// Write writes the file, when something changed since it was written. It belongs to one goroutine.
func (s *Store) Write() error {
	s.mu.Lock()
	if !s.changed {
		s.mu.Unlock()
		return nil
	}
	b := append([]byte(magic), s.id[:]...)
	for _, k := range s.sorted() {
		for _, v := range [...]uint64{k.Dev, k.Ino, uint64(k.Size), uint64(k.Changed)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	s.changed = false
	s.mu.Unlock()
	sum := sha256.Sum256(b)
	if err := durable.Replace(s.path, append(b, sum[:]...), 0o600); err != nil {
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
		return fmt.Errorf("kept: %w", err)
	}
	return nil
}
