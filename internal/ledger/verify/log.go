package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// width of a tile and of an entry bundle (C2SP tlog-tiles).
const width = 256

// maxBundleFile bounds an entry bundle: 256 entries of at most 65,535 bytes.
const maxBundleFile = width * (2 + 1<<16)

// log reads a tlog-tiles ledger leaf by leaf and checks its tiles against its leaves.
type log struct {
	key    string // that its checkpoint was opened with
	dir    string
	size   uint64 // of the store's own checkpoint
	root   hash
	result *Result
	tree   tree
	levels [][]hash // the hashes of the tile under construction, by level
	counts []uint64 // tiles finished, by level
	bundle [][]byte
	dead   bool
}

// openLog reads the store's own checkpoint. A store without ledger is only as good as its chain; one that lost its ledger is broken.
func openLog(dir, keys, key string, r *Result) *log {
	l := &log{dir: filepath.Join(dir, "ledger"), result: r}
	path, name := filepath.Join(keys, "ledger.pub"), "keys/ledger.pub"
	if keys != filepath.Join(dir, "keys") {
		name = path
	}
	pub, keyErr := readSmall(path)
	if l.key = key; key == "" {
		l.key = string(pub)
	}
	raw, err := readSmall(filepath.Join(l.dir, "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) && !exists(l.dir) {
		r.note("there is no ledger here: only checksums and chains were checked")
		l.dead = true
		return l
	}
	var c *checkpoint
	switch {
	case err == nil && key == "" && errors.Is(keyErr, fs.ErrNotExist):
		err = fmt.Errorf("%s, the ledger's verifier key, is missing: restore it, say where keys are kept (--config; chaperone-verify: -keys), or give the key as known outside (--key)", name)
	case err == nil && key == "" && keyErr != nil:
		err = fmt.Errorf("%s, the ledger's verifier key, cannot be read: %w", name, keyErr)
	case err == nil:
		if c, err = parseCheckpoint(raw, l.key); errors.Is(err, errVerifierKey) && key == "" {
			err = fmt.Errorf("%s is no verifier key: restore it, or give the key as known outside (--key): %w", name, err)
		}
	}
	if err != nil {
		r.add(Finding{Kind: CheckpointInvalid, Detail: err.Error()})
		l.dead = true
		return l
	}
	l.size, l.root = c.size, c.root
	return l
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func readSmall(path string) ([]byte, error) { return readLimited(path, maxNote) }

// readLimited reads a file that must not be longer than limit.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: not a file of at most %d bytes", path, limit)
	}
	return b, err
}

// openRegular opens a regular file. A pipe would keep the verifier waiting, and a device may never end.
func openRegular(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if st, err = f.Stat(); err == nil && st.Mode().IsRegular() {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("%s: not a regular file", path)
}

// next returns the data of the next leaf, false after the last or when the ledger can be followed no further.
func (l *log) next() ([]byte, bool) {
	i := l.tree.size
	if l.dead || i >= l.size {
		return nil, false
	}
	if i%width == 0 {
		err := l.load(i / width)
		if err != nil {
			err = l.load(i / width) // a partial bundle may have been replaced by a longer one meanwhile
		}
		if err != nil {
			l.dead = true
			l.result.add(Finding{Kind: LedgerDamaged, Detail: fmt.Sprintf("entries of leaf %d and after: %v", i, err)})
			return nil, false
		}
	}
	leaf := l.bundle[i%width]
	h := leafHash(leaf)
	l.tree.append(h)
	l.push(0, h)
	return leaf, true
}

// load reads the entry bundle n, and holds every copy of it that is there against it.
func (l *log) load(n uint64) error {
	need := int(min(width, l.size-n*width))
	files := l.copies("entries", n)
	var whole []byte
	for _, c := range files {
		if c.count >= need && whole == nil {
			b, err := readLimited(c.path, maxBundleFile)
			if err != nil {
				return err
			}
			if whole, l.bundle, err = cut(b, need); err != nil {
				return err
			}
			if c.count == need && len(whole) != len(b) {
				return errors.New("bytes after the last entry")
			}
		}
	}
	if whole == nil {
		return errors.New("missing")
	}
	for _, c := range files {
		b, err := readLimited(c.path, maxBundleFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue // collected meanwhile
		}
		short := whole
		if err == nil && c.count < need {
			short, _, err = cut(whole, c.count)
		}
		if err != nil || !bytes.HasPrefix(b, short) || c.count <= need && len(b) != len(short) {
			return fmt.Errorf("%s differs from the other copies", filepath.Base(c.path))
		}
	}
	return nil
}

// cut returns the first n entries of a bundle and the bytes they take.
func cut(b []byte, n int) ([]byte, [][]byte, error) {
	entries := make([][]byte, 0, n)
	at := 0
	for range n {
		if len(b)-at < 2 {
			return nil, nil, errors.New("ends early")
		}
		size := int(binary.BigEndian.Uint16(b[at:]))
		if at += 2; len(b)-at < size {
			return nil, nil, errors.New("ends early")
		}
		entries = append(entries, b[at:at+size])
		at += size
	}
	return b[:at], entries, nil
}

// push adds a hash to the tile under construction at a level, and its root to the level above when the tile is full.
func (l *log) push(level int, h hash) {
	if level == len(l.levels) {
		l.levels = append(l.levels, make([]hash, 0, width))
		l.counts = append(l.counts, 0)
	}
	l.levels[level] = append(l.levels[level], h)
	if len(l.levels[level]) < width {
		return
	}
	l.checkTile(level)
	top := rootOf(l.levels[level])
	l.levels[level] = l.levels[level][:0]
	l.counts[level]++
	l.push(level+1, top)
}

// checkTile holds every copy of the tile under construction against the hashes that the leaves give.
func (l *log) checkTile(level int) {
	var want []byte
	for _, h := range l.levels[level] {
		want = append(want, h[:]...)
	}
	enough := false
	for _, c := range l.copies(strconv.Itoa(level), l.counts[level]) {
		b, err := readLimited(c.path, width*int64(len(hash{})))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		n := min(len(want), c.count*len(hash{}))
		if err != nil || len(b) != c.count*len(hash{}) || !bytes.Equal(b[:n], want[:n]) {
			l.result.add(Finding{Kind: LedgerDamaged, Detail: fmt.Sprintf("tile %d/%d: %s does not hold the hashes of its leaves", level, l.counts[level], filepath.Base(c.path))})
			return
		}
		enough = enough || c.count >= len(l.levels[level])
	}
	if !enough {
		l.result.add(Finding{Kind: LedgerDamaged, Detail: fmt.Sprintf("tile %d/%d is missing", level, l.counts[level])})
	}
}

// finish checks the tiles at the right edge and the root.
func (l *log) finish() {
	if l.dead {
		return
	}
	for level := range l.levels {
		if len(l.levels[level]) > 0 {
			l.checkTile(level)
		}
	}
	if l.tree.size == l.size && l.tree.root() != l.root {
		l.result.add(Finding{Kind: LedgerDamaged, Detail: "the leaves are not those that the store's checkpoint was made of"})
	}
}

// fileCopy is one file that holds the first count parts of a tile or bundle.
type fileCopy struct {
	path  string
	count int
}

// copies lists the whole file and the partial ones of a tile or entry bundle, the most complete first.
func (l *log) copies(kind string, n uint64) []fileCopy {
	base := filepath.Join(l.dir, "tile", kind, filepath.FromSlash(tilePath(n)))
	var out []fileCopy
	if exists(base) {
		out = append(out, fileCopy{base, width})
	}
	partial, _ := os.ReadDir(base + ".p")
	for _, e := range partial {
		if c, err := strconv.Atoi(e.Name()); err == nil && c > 0 && c < width && strconv.Itoa(c) == e.Name() {
			out = append(out, fileCopy{filepath.Join(base+".p", e.Name()), c})
		}
	}
	slices.SortFunc(out, func(a, b fileCopy) int { return b.count - a.count })
	return out
}

// tilePath writes n in groups of three digits: 1234067 is x001/x234/067.
func tilePath(n uint64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}
