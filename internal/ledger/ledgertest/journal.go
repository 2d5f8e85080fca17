package ledgertest

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"github.com/chaperone-im/chaperone/internal/journal"
)

// Journal is a small journal on disk for tests: one segment a stream, everything in memory too. It implements journal.Reader.
type Journal struct {
	mu      sync.Mutex
	dir     string
	frames  map[string][]journal.Frame
	changed chan struct{}
}

// OpenJournal opens or creates dir/journal.
func OpenJournal(dir string) (*Journal, error) {
	j := &Journal{dir: filepath.Join(dir, "journal"), changed: make(chan struct{})}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	j.frames, err = readStreams(dir)
	return j, err
}

// Append adds one frame to its stream, synced.
func (j *Journal) Append(f journal.Frame) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	stream := f.Head.Stream
	all, err := chain(append(j.frames[stream][:len(j.frames[stream]):len(j.frames[stream])], f))
	if err != nil {
		return err
	}
	last := all[len(all)-1]
	b, err := journal.EncodeFrame(nil, &last)
	if err != nil {
		return err
	}
	if err := appendSynced(filepath.Join(j.dir, stream), b); err != nil {
		return err
	}
	j.frames[stream] = append(j.frames[stream], last)
	close(j.changed)
	j.changed = make(chan struct{})
	return nil
}

func appendSynced(dir string, b []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "00000000000000000001.seg"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// Streams lists the streams and their last frames.
func (j *Journal) Streams() (map[string]uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := map[string]uint64{}
	for s, f := range j.frames {
		out[s] = uint64(len(f))
	}
	return out, nil
}

// Frames yields the frames of a stream.
func (j *Journal) Frames(_ context.Context, stream string, from uint64) iter.Seq2[journal.Frame, error] {
	j.mu.Lock()
	all := j.frames[stream]
	j.mu.Unlock()
	return func(yield func(journal.Frame, error) bool) {
		for i := max(from, 1) - 1; i < uint64(len(all)); i++ {
			if !yield(all[i], nil) {
				return
			}
		}
	}
}

// Wait returns when the stream has a frame after that one.
func (j *Journal) Wait(ctx context.Context, stream string, after uint64) error {
	for {
		j.mu.Lock()
		n, changed := uint64(len(j.frames[stream])), j.changed
		j.mu.Unlock()
		if n > after {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
