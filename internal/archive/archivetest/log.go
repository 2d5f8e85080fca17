package archivetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// Log is a journal, a recorder and a sealer in memory, each frame one call of Record. It is for tests of what follows a journal; those of
// the whole use the real ones.
type Log struct {
	mu       sync.Mutex
	frames   []journal.Frame
	contents map[string]string // by sealed bytes
	added    chan struct{}     // closed and replaced when a frame is added
	Fail     error             // what Record returns, when not nil
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{contents: map[string]string{}, added: make(chan struct{})} }

// Record appends a frame. Parties, rooms and hosts keep the ids that they have, or get their name as one.
func (l *Log) Record(_ context.Context, events ...*event.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Fail != nil {
		return l.Fail
	}
	f := journal.Frame{Head: journal.Head{Stream: journal.Local, Sequence: uint64(len(l.frames) + 1), Time: time.Now().UTC(), Count: len(events)}}
	for _, e := range events {
		name(e)
		h, content, err := e.Split(event.NewSalt())
		if err != nil {
			return err
		}
		sealed := make([]byte, 16)
		rand.Read(sealed)
		l.contents[string(sealed)] = string(e.ID) + string(content)
		h.Sealed = event.Digest(sealed)
		header, err := event.Canonical(&h)
		if err != nil {
			return err
		}
		f.Records = append(f.Records, journal.Record{Header: header, Sealed: sealed})
	}
	l.frames = append(l.frames, f)
	close(l.added)
	l.added = make(chan struct{})
	return nil
}

func name(e *event.Event) {
	party := func(p *event.Party) {
		if p.ID == "" && p.Handle != "" {
			p.ID = "h-" + e.Connector + "-" + p.Handle
		}
	}
	party(&e.From)
	for i := range e.To {
		party(&e.To[i])
	}
	if e.Room.ID == "" && e.Room.Name != "" {
		e.Room.ID = "r-" + e.Room.Name
	}
	if e.Host.ID == "" && e.Host.Name+e.Host.Address != "" {
		e.Host.ID = "m-" + e.Host.Name + e.Host.Address
	}
}

// Frames yields the frames from a sequence on.
func (l *Log) Frames(ctx context.Context, _ string, from uint64) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		for i := max(from, 1); ; i++ {
			l.mu.Lock()
			if i > uint64(len(l.frames)) {
				l.mu.Unlock()
				return
			}
			f := l.frames[i-1]
			l.mu.Unlock()
			if !yield(f, ctx.Err()) {
				return
			}
		}
	}
}

// Streams lists the one stream.
func (l *Log) Streams() (map[string]uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return map[string]uint64{journal.Local: uint64(len(l.frames))}, nil
}

// Wait returns when there is a frame after the given one.
func (l *Log) Wait(ctx context.Context, _ string, after uint64) error {
	for {
		l.mu.Lock()
		n, added := uint64(len(l.frames)), l.added
		l.mu.Unlock()
		if n > after {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-added:
		}
	}
}

// Open returns what was sealed.
func (l *Log) Open(sealed, id []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	content, ok := l.contents[string(sealed)]
	if !ok {
		return nil, seal.ErrErased
	}
	if content[:len(id)] != string(id) {
		return nil, fmt.Errorf("open: sealed for %s, not for %s", content[:len(id)], id)
	}
	return []byte(content[len(id):]), nil
}

// Erase forgets what was sealed.
func (l *Log) Erase(sealed []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.contents, string(sealed))
	return nil
}

// Readable reports how many contents can still be opened.
func (l *Log) Readable() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.contents)
}

// Damage changes a record's sealed bytes so that they no longer open as what they were.
func (l *Log) Damage(frame, record int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.frames[frame].Records[record]
	l.contents[string(r.Sealed)] = string(make([]byte, 64))
}
