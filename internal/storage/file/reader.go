package file

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/journal"
)

// Reader reads the segments of a data directory, also while another process writes them.
type Reader struct {
	dir  string
	live string // the stream that this process writes, "" for none

	mu      sync.Mutex
	durable uint64 // of the live stream
	moved   chan struct{}
	places  map[spot]place    // where readers stopped
	ends    map[string]ending // of streams that others write
}

type segment struct {
	path  string
	first uint64
}

// spot is the frame that a reader will ask for next.
type spot struct {
	stream string
	next   uint64
}

// place is where that frame begins. A rewritten segment is another file: its places are void.
type place struct {
	file   os.FileInfo
	offset int64
	prev   string
}

// ending is the last whole frame of a stream, as far as it was looked at.
type ending struct {
	path string
	file os.FileInfo
	scan scan
}

const (
	maxPlaces = 64                     // remembered reading places
	lookEvery = 200 * time.Millisecond // for frames of streams that others write
)

// OpenReader returns a reader of dir that needs no lock. A torn frame at the end is not an error: its writer may be at it.
func OpenReader(dir string) *Reader { return newReader(dir) }

func newReader(dir string) *Reader {
	return &Reader{dir: filepath.Join(dir, "journal"), moved: make(chan struct{}), places: map[spot]place{}, ends: map[string]ending{}}
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
	if err != nil || len(segments) == 0 {
		return 0, err
	}
	s := segments[len(segments)-1]
	info, err := os.Stat(s.path)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	end, known := r.ends[stream]
	r.mu.Unlock()
	if !known || end.path != s.path || !os.SameFile(end.file, info) || end.scan.size > info.Size() {
		end = ending{path: s.path, scan: scan{next: s.first}}
	}
	end.file = info
	if err := end.scan.run(s.path); err != nil && !errors.Is(err, journal.ErrTorn) {
		return 0, fmt.Errorf("%s: %w", s.path, err)
	}
	r.mu.Lock()
	r.ends[stream] = end
	r.mu.Unlock()
	return end.scan.next - 1, nil
}

// Wait implements journal.Reader. Streams that another process writes are looked at a few times a second.
func (r *Reader) Wait(ctx context.Context, stream string, after uint64) error {
	for {
		r.mu.Lock()
		moved := r.moved
		r.mu.Unlock()
		last, err := r.last(stream)
		if err != nil {
			return err
		}
		if last > after {
			return nil
		}
		var look <-chan time.Time
		if stream != r.live {
			look = time.After(lookEvery)
		}
		select {
		case <-moved:
		case <-look:
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
		if !ok || len(name) != segmentNames || strings.Trim(name, "0123456789") != "" {
			continue
		}
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil || first == 0 {
			return nil, fmt.Errorf("journal: no segment can be named %s", e.Name())
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
		w := walker{ctx: ctx, next: from, limit: limit, open: stream != r.live, at: r.recall(spot{stream, from}), yield: yield}
		for i, s := range segments {
			if i+1 < len(segments) && segments[i+1].first <= from {
				continue
			}
			if !w.segment(s, i+1 == len(segments)) {
				break
			}
		}
		r.remember(spot{stream, w.next}, w.at)
	}
}

func (r *Reader) recall(s spot) place {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.places[s]
}

func (r *Reader) remember(s spot, p place) {
	if p.file == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.places) >= maxPlaces {
		clear(r.places)
	}
	r.places[s] = p
}
