package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/chaperone-im/chaperone/internal/journal"
)

// Reader reads the segments of a data directory, also while another process writes them.
type Reader struct {
	dir  string
	live string // the stream that this process writes, "" for none

	mu      sync.Mutex
	durable uint64 // of the live stream
	moved   chan struct{}
	places  map[uint64]place // where readers stopped, by the next sequence
}

type segment struct {
	path  string
	first uint64
}

type place struct {
	path   string
	offset int64
	prev   string
}

// maxPlaces bounds how many reading places are remembered.
const maxPlaces = 64

// OpenReader returns a reader of dir that needs no lock. A torn frame at the end is not an error: its writer may be at it.
func OpenReader(dir string) *Reader { return newReader(dir) }

func newReader(dir string) *Reader {
	return &Reader{dir: filepath.Join(dir, "journal"), moved: make(chan struct{}), places: map[uint64]place{}}
}

func (r *Reader) publish(sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.durable = sequence
	close(r.moved)
	r.moved = make(chan struct{})
}

// Streams implements journal.Reader.
func (r *Reader) Streams() (map[string]uint64, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	out := map[string]uint64{}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		last, err := r.last(e.Name())
		if err != nil {
			return nil, err
		}
		out[e.Name()] = last
	}
	return out, nil
}

func (r *Reader) last(stream string) (uint64, error) {
	if stream == r.live {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.durable, nil
	}
	segments, err := r.segments(stream)
	if err != nil {
		return 0, err
	}
	for _, s := range slices.Backward(segments) {
		f, _, err := scanSegment(s.path, s.first)
		if err != nil && !errors.Is(err, journal.ErrTorn) {
			return 0, err
		}
		if f != nil {
			return f.Head.Sequence, nil
		}
	}
	return 0, nil
}

// Wait implements journal.Reader. Of a stream that another process writes it returns at the context's end.
func (r *Reader) Wait(ctx context.Context, stream string, after uint64) error {
	for {
		r.mu.Lock()
		durable, moved := r.durable, r.moved
		r.mu.Unlock()
		if stream == r.live && durable > after {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Reader) segments(stream string) ([]segment, error) {
	if stream == "" || strings.ContainsAny(stream, "/\x00") || strings.HasPrefix(stream, ".") {
		return nil, fmt.Errorf("journal: no stream can be named %q", stream)
	}
	entries, err := os.ReadDir(filepath.Join(r.dir, stream))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var out []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if !ok || len(name) != segmentNames {
			continue
		}
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("journal: segment name %s: %w", e.Name(), err)
		}
		out = append(out, segment{filepath.Join(r.dir, stream, e.Name()), first})
	}
	return out, nil // ReadDir sorts, and the names have equal length
}

// Frames implements journal.Reader.
func (r *Reader) Frames(ctx context.Context, stream string, from uint64) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		from = max(from, 1)
		limit := ^uint64(0)
		if stream == r.live {
			limit, _ = r.last(stream)
		}
		if from > limit {
			return
		}
		segments, err := r.segments(stream)
		if err != nil {
			yield(journal.Frame{}, err)
			return
		}
		start, ok := r.recall(from)
		w := walker{ctx: ctx, from: from, limit: limit, yield: yield}
		for i, s := range segments {
			if i+1 < len(segments) && segments[i+1].first <= from || ok && s.path < start.path {
				continue
			}
			at := place{path: s.path, prev: w.at.prev}
			if ok && s.path == start.path && w.at.path == "" {
				at = start
			}
			last := i+1 == len(segments)
			if !w.segment(s, at, last) {
				break
			}
		}
		if w.next > 0 {
			r.remember(w.next, w.at)
		}
	}
}

func (r *Reader) recall(next uint64) (place, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.places[next]
	return p, ok
}

func (r *Reader) remember(next uint64, p place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.places) >= maxPlaces {
		clear(r.places)
	}
	r.places[next] = p
}

// walker yields the frames of segments in order and checks that each continues the one before.
type walker struct {
	ctx   context.Context
	from  uint64
	limit uint64
	yield func(journal.Frame, error) bool
	at    place
	next  uint64 // sequence after the last frame read
}

// segment yields one segment's frames, and reports whether to go on with the next.
func (w *walker) segment(s segment, at place, last bool) bool {
	fail := func(err error) bool {
		w.yield(journal.Frame{}, fmt.Errorf("%s: %w", s.path, err))
		return false
	}
	file, err := os.Open(s.path)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	if _, err := file.Seek(at.offset, io.SeekStart); err != nil {
		return fail(err)
	}
	in := bufio.NewReaderSize(file, 256<<10)
	for {
		if err := w.ctx.Err(); err != nil {
			return fail(err)
		}
		f, size, err := journal.ReadFrame(in)
		if errors.Is(err, io.EOF) || last && errors.Is(err, journal.ErrTorn) {
			return true
		}
		if err == nil {
			err = w.follows(&f, at)
		}
		if err != nil {
			return fail(err)
		}
		if f.Head.Sequence > w.limit {
			return false
		}
		at.offset += size
		at.prev = journal.Hash(f.HeadRaw)
		w.at, w.next = at, f.Head.Sequence+1
		if f.Head.Sequence >= w.from && !w.yield(f, nil) {
			return false
		}
	}
}

func (w *walker) follows(f *journal.Frame, at place) error {
	if w.next > 0 && f.Head.Sequence != w.next {
		return fmt.Errorf("%w: frame %d follows frame %d", journal.ErrCorrupt, f.Head.Sequence, w.next-1)
	}
	if at.prev != "" && f.Head.Prev != at.prev {
		return fmt.Errorf("%w: frame %d does not continue the frame before it", journal.ErrCorrupt, f.Head.Sequence)
	}
	return nil
}

// scanSegment reads a segment to its end and returns its last whole frame (nil when there is none) and the bytes up to its end. A torn end
// gives journal.ErrTorn beside them.
func scanSegment(path string, first uint64) (*journal.Frame, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 256<<10)
	var last *journal.Frame
	var size int64
	want := first
	for {
		f, n, err := journal.ReadFrame(in)
		if errors.Is(err, io.EOF) {
			return last, size, nil
		}
		if err != nil {
			return last, size, tail(file, size, err)
		}
		if f.Head.Sequence != want || last != nil && f.Head.Prev != journal.Hash(last.HeadRaw) {
			return last, size, fmt.Errorf("%w: frame %d stands where frame %d belongs", journal.ErrCorrupt, f.Head.Sequence, want)
		}
		f.Records = nil
		last = &f
		size += n
		want++
	}
}

// tail tells a torn end from damage in the middle: a power loss may leave the file long enough, with zeros or stale blocks in the last
// frame. If no whole frame comes after the place, it is the end.
func tail(file *os.File, at int64, err error) error {
	if !errors.Is(err, journal.ErrCorrupt) {
		return err
	}
	info, e := file.Stat()
	if e != nil {
		return errors.Join(err, e)
	}
	if info.Size()-at > journal.MaxFrame {
		return err
	}
	rest := make([]byte, info.Size()-at)
	if _, e := file.ReadAt(rest, at); e != nil {
		return errors.Join(err, e)
	}
	text := string(rest)
	for i := strings.Index(text[1:], "CJF1"); i >= 0; {
		text = text[i+1:]
		if _, _, e := journal.ReadFrame(bufio.NewReader(strings.NewReader(text))); e == nil {
			return err // a whole frame follows: this is damage, not a torn end
		}
		if i = strings.Index(text[1:], "CJF1"); i < 0 {
			break
		}
	}
	return fmt.Errorf("%w: %w", journal.ErrTorn, err)
}
