// Package rescan remembers which files a scan looked into and found nothing in, so that the next one only asks whether they have changed.
//
// A file is known again by device, inode, size and the time of its last change (ctime), which the kernel sets and no user can. What is
// remembered holds for one set of rules: another catalog, policy or program version begins anew. Files with findings or problems are never
// remembered, and neither are those that changed a short time ago: a page that is mapped and written now may not have moved the time yet.
// The state is a list that only grows while a scan runs, so that an interrupted one goes on where it was; it lies in a folder that no other
// user may write to, and a part of it that is damaged or lost costs time alone.
package rescan

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Bounds of the state.
const (
	keySize    = 16
	maxKeys    = 16 << 20
	maxHeader  = 1 << 20
	maxRuns    = 64
	flushEvery = 4096 // keys
	version    = 1
	fileName   = "scan.state"
)

// Settled is how long ago a file must have changed to be remembered.
const Settled = 2 * time.Minute

// ErrUntrusted says that this system has no time of change that only its kernel sets.
var ErrUntrusted = errors.New("rescan: this system keeps no time of change that users cannot set")

// Key is by what a file is known again.
type Key struct {
	Dev, Ino uint64
	Size     int64
	Changed  int64 // ctime in nanoseconds
}

type digest [keySize]byte

// Memory is the state of one folder. It is safe for concurrent use.
type Memory struct {
	dir   string
	rules string

	mu     sync.Mutex
	salt   []byte
	known  map[digest]struct{} // of this run and of those before
	fresh  map[digest]struct{} // met in this run
	runs   map[string]int64    // files of the last whole scan, by its paths
	file   *os.File            // open at its end
	buffer []byte
	err    error
}

// header is the first line of the file.
type header struct {
	Version int              `json:"version"`
	Rules   string           `json:"rules"`
	Salt    []byte           `json:"salt"`
	Runs    map[string]int64 `json:"runs"`
}

// Open opens the state in a folder, which it makes if need be. rules names all that an answer depends on. State of other rules, or that is
// damaged, is forgotten. It is an error when another user could write the folder or the file.
func Open(dir, rules string) (*Memory, error) {
	if !Trusted {
		return nil, ErrUntrusted
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("rescan: %w", err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	m := &Memory{dir: dir, rules: rules, known: map[digest]struct{}{}, fresh: map[digest]struct{}{}, runs: map[string]int64{}}
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|noFollow, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return m, m.rewrite()
	case err != nil:
		return nil, fmt.Errorf("rescan: %w", err)
	}
	if err := private(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !m.load(f) {
		return m, errors.Join(f.Close(), m.rewrite())
	}
	m.file = f
	return m, nil
}

// load reads the file, and leaves it at the end of the last whole key. It reports whether the state is of the same rules.
func (m *Memory) load(f *os.File) bool {
	r := bufio.NewReaderSize(f, 1<<16)
	line, err := readLine(r)
	if err != nil {
		return false
	}
	var h header
	if json.Unmarshal(line, &h) != nil || h.Version != version || h.Rules != m.rules || len(h.Salt) != sha256.Size || len(h.Runs) > maxRuns {
		return false
	}
	m.salt = h.Salt
	if h.Runs != nil {
		m.runs = h.Runs
	}
	at := int64(len(line)) + 1
	var k digest
	for len(m.known) < maxKeys {
		if _, err := io.ReadFull(r, k[:]); err != nil {
			break
		}
		m.known[k] = struct{}{}
		at += keySize
	}
	_, err = f.Seek(at, io.SeekStart)
	return err == nil && f.Truncate(at) == nil
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for len(line) < maxHeader {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return bytes.TrimSuffix(line, []byte("\n")), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	return nil, errors.New("rescan: header is too long")
}

// digest is salted, so that nobody can make two files alike.
func (m *Memory) digest(k Key) digest {
	var b [sha256.Size + 32]byte
	copy(b[:], m.salt)
	binary.LittleEndian.PutUint64(b[32:], k.Dev)
	binary.LittleEndian.PutUint64(b[40:], k.Ino)
	binary.LittleEndian.PutUint64(b[48:], uint64(k.Size))
	binary.LittleEndian.PutUint64(b[56:], uint64(k.Changed))
	sum := sha256.Sum256(b[:])
	return digest(sum[:keySize])
}

// Known reports whether the file was looked into before, and has not changed since.
func (m *Memory) Known(k Key) bool {
	d := m.digest(k)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.known[d]; !ok {
		return false
	}
	m.fresh[d] = struct{}{}
	return true
}

// Clean remembers a file in which nothing was found. now is the time when it was opened.
func (m *Memory) Clean(k Key, now time.Time) {
	if now.UnixNano()-k.Changed < int64(Settled) {
		return
	}
	d := m.digest(k)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxKeys || m.err != nil {
		return
	}
	m.known[d], m.fresh[d] = struct{}{}, struct{}{}
	if m.buffer = append(m.buffer, d[:]...); len(m.buffer) >= flushEvery*keySize {
		m.flush()
	}
}

// flush is called with mu held.
func (m *Memory) flush() {
	if m.file == nil || m.err != nil {
		return
	}
	_, m.err = m.file.Write(m.buffer)
	m.buffer = m.buffer[:0]
}

// Expected returns how many files the last whole scan of these paths met, 0 when there was none.
func (m *Memory) Expected(paths []string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs[strings.Join(paths, "\x00")]
}

// Finish says that a scan of these paths went through, and met so many files. When there is more than room for, only what it met is kept.
func (m *Memory) Finish(paths []string, files int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.runs) >= maxRuns {
		clear(m.runs)
	}
	m.runs[strings.Join(paths, "\x00")] = files
	if len(m.known) > maxKeys/2 {
		m.known = m.fresh
	}
	return m.rewrite()
}

// Close keeps what is known so far.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flush()
	err := m.err
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
		m.file = nil
	}
	if err != nil {
		return fmt.Errorf("rescan: %w", err)
	}
	return nil
}
