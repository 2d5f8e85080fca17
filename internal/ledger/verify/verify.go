// Package verify tells whether a data directory still says what it said, to somebody who trusts neither the machine nor its administrator.
//
// It reads segments, ledger and objects by the published format (docs/reference/proof-format.md) and imports nothing of Chaperone: an error
// in the program that wrote the records is not repeated by the program that checks them. It needs no key and changes nothing.
//
// There are three answers. PROVEN since T: everything under a checkpoint that was kept outside since T is as it was then. CONSISTENT, NOT
// PROVEN: the store agrees with itself, which somebody who holds the signing key can arrange. BROKEN: it does not agree, with itself or
// with the outside checkpoint; where the record hashes were kept with the checkpoint, the records are named. Memory is bounded by the
// largest frame and by what is found to be wrong, not by the size of the store.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Options say what is held outside.
type Options struct {
	Checkpoint string // a signed note, a bundle, or a folder of them; "" when nothing is held outside
	Key        string // the ledger's verifier key as known outside; "" takes the one of the bundle, else of the data directory
	Keys       string // the keys folder, with ledger.pub and roots; "" is keys in the data directory
	Pause      func() // called after each MiB that was read and each object, for whoever shares the machine; nil does not pause
}

// ErrNotAStore says that the path holds no journal.
var ErrNotAStore = errors.New("verify: no journal here")

// Verify checks the data directory dir. An error means that it could not be checked at all; what is wrong with it is in the result.
func Verify(ctx context.Context, dir string, o Options) (*Result, error) {
	st, err := os.Stat(filepath.Join(dir, "journal"))
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("verify: permission denied: this user may not read %s; run as the user that serve runs as, or on a copy", dir)
	}
	if err != nil || !st.IsDir() {
		return nil, fmt.Errorf("%w: %s has no folder journal", ErrNotAStore, dir)
	}
	out, err := loadOutside(o.Checkpoint, o.Key)
	if err != nil {
		return nil, err
	}
	if o.Keys == "" {
		o.Keys = filepath.Join(dir, "keys")
	}
	w := &walk{dir: dir, keys: o.Keys, result: &Result{Path: dir}, out: out, key: o.Key, lastRecord: map[string]bool{}, pause: o.Pause}
	w.objects = newObjects(dir, w.result)
	w.roots = newRootFiles(dir, o.Keys)
	w.disposed = newDisposals()
	w.rolls = newRolls(w.result)
	w.naming = newNaming(w.result)
	if err := w.open(); err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	w.finish()
	return w.result, nil
}

// walk is one pass over ledger and journal side by side.
type walk struct {
	dir, key   string
	keys       string
	result     *Result
	out        *outside
	streams    map[string]*stream
	names      []string
	log        *log
	held       tree // over the frames' heads, in the ledger's order: what the outside checkpoints are compared with
	objects    *objects
	disposed   *disposals
	roots      *rootFiles
	rolls      *rolls
	naming     *naming
	buf        []byte
	pause      func()
	unpaused   int64           // bytes read since the last pause
	lastRecord map[string]bool // streams in which a frame's head already differed: later ones differ because of the chain
}

// open reads the checkpoint first and lists the segments then: in a store that is being written every frame under the checkpoint is there.
func (w *walk) open() error {
	w.log = openLog(w.dir, w.keys, w.key, w.result)
	w.out.adopt(w.log.key, w.result)
	w.result.Ledger = w.log.size
	var err error
	if w.streams, err = openStreams(filepath.Join(w.dir, "journal")); err != nil {
		return err
	}
	for name := range w.streams {
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	w.result.Streams = len(w.names)
	return nil
}

func (w *walk) close() {
	for _, s := range w.streams {
		s.close()
	}
	w.out.close()
}

// run follows the ledger leaf by leaf, taking each leaf's frame from its stream, then reads the frames that are in no leaf yet.
func (w *walk) run(ctx context.Context) error {
	end := max(w.log.size, w.out.size())
	for i := uint64(0); i < end; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.checkOutside()
		leaf, inLog := w.log.next()
		want, err := w.out.expected(i)
		if err != nil {
			return err
		}
		if want == nil && !inLog {
			break
		}
		w.step(i, leaf, want)
	}
	w.checkOutside()
	w.log.finish()
	return w.drain(ctx)
}

// step takes the next frame of the stream that leaf i names (by the outside copy when there is one) and compares all three.
func (w *walk) step(i uint64, leaf []byte, want *bundleFrame) {
	name := ""
	if want != nil {
		name = want.Stream
	} else if h, err := parseHead(leaf); err == nil {
		name = h.Stream
	} else {
		w.result.add(Finding{Kind: LedgerDamaged, Detail: fmt.Sprintf("leaf %d is not the head of a frame: %v", i, err)})
		w.held.append(leafHash(leaf))
		return
	}
	f := w.nextFrame(name)
	if f == nil {
		w.missingFrame(i, name, leaf, want)
		w.held.append(hash{})
		return
	}
	w.held.append(leafHash(f.head))
	if leaf != nil && string(leaf) != string(f.head) {
		w.differs(f, i)
	}
	if want != nil {
		w.naming.compare(want, f)
	}
}

func (w *walk) differs(f *frame, i uint64) {
	if w.lastRecord[f.stream] {
		return
	}
	w.lastRecord[f.stream] = true
	w.result.add(Finding{Kind: LedgerDiffers, Stream: f.stream, Sequence: f.parsed.Sequence,
		Detail: fmt.Sprintf("the frame's head is not what leaf %d of the ledger holds", i)})
}

func (w *walk) missingFrame(i uint64, name string, leaf []byte, want *bundleFrame) {
	if want != nil {
		w.naming.compare(want, &frame{stream: name})
	}
	seq := uint64(0)
	if want != nil {
		seq = want.Sequence
	} else if h, err := parseHead(leaf); err == nil {
		seq = h.Sequence
	}
	if w.lastRecord["missing "+name] {
		return
	}
	w.lastRecord["missing "+name] = true
	w.result.add(Finding{Kind: FrameMissing, Stream: name, Sequence: seq,
		Detail: fmt.Sprintf("leaf %d of the ledger has no frame in the journal (nor have those after it)", i)})
}

// drain reads the frames after the last leaf: the open window, which only their own checksums and chain protect.
func (w *walk) drain(ctx context.Context) error {
	for _, name := range w.names {
		for f := w.nextFrame(name); f != nil; f = w.nextFrame(name) {
			if err := ctx.Err(); err != nil {
				return err
			}
			w.result.Uncommitted++
		}
	}
	return nil
}

// pauseEvery is how much is read between two pauses.
const pauseEvery = 1 << 20

// breathe pauses when enough was read.
func (w *walk) breathe(read int64) {
	if w.unpaused += read; w.pause != nil && w.unpaused >= pauseEvery {
		w.unpaused = 0
		w.pause()
	}
}

// nextFrame returns the next frame of a stream, checked as far as the frame alone allows, or nil.
func (w *walk) nextFrame(name string) *frame {
	s := w.streams[name]
	if s == nil {
		return nil
	}
	f := s.next(&w.buf, w.result)
	if f == nil {
		return nil
	}
	w.result.Frames++
	w.breathe(f.size)
	s.check(f, w.result)
	for i, h := range f.parsedHeaders {
		w.result.Records++
		w.content(f, i, h)
	}
	return f
}

func (w *walk) content(f *frame, i int, h header) {
	w.disposed.certificate(h)
	at := Finding{Stream: f.stream, Sequence: f.parsed.Sequence, Position: i + 1, Record: h.ID}
	w.rolls.see(h, at)
	gone := false
	w.roots.sealed(f.sealed[i])
	switch sealed := f.sealed[i]; {
	case len(sealed) > 0 && digest(sealed) != h.Sealed:
		at.Kind, at.Detail = ContentChanged, "the sealed content does not match the digest in its header"
		w.result.add(at)
	case len(sealed) == 0 && h.Sealed != "":
		gone = true
		at.Kind, at.Detail = ContentMissing, "the sealed content is gone and no record certifies its disposal"
		w.disposed.missing(h.ID, at)
	}
	w.objects.check(h, at, gone)
	if len(h.Objects) > 0 {
		w.breathe(pauseEvery)
	}
}

// checkOutside compares the frames read so far with the outside checkpoints of exactly this size.
func (w *walk) checkOutside() {
	for _, c := range w.out.at(w.held.size) {
		c.matches = w.held.root() == c.root
	}
}

func (w *walk) finish() {
	w.naming.finish()
	w.disposed.finish(w.result)
	w.objects.finish()
	w.roots.finish(w.result)
	w.rolls.finish()
	w.out.judge(w)
	w.result.conclude(w.out)
}

// timeOf returns when an outside checkpoint was made, in words.
func timeOf(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}
