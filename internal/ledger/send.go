package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Times of sending.
const (
	lookForNew  = 250 * time.Millisecond
	sendTimeout = 20 * time.Second
	maxBackoff  = 5 * time.Minute
	lateAfter   = 5 * time.Minute // an open window longer than that, and the pause of the quickest recipient, is degraded
)

// acknowledged is how far one recipient has come.
type acknowledged struct {
	Leaves uint64    `json:"leaves"` // it has the record hashes of the frames below
	Time   time.Time `json:"time"`   // of its last acknowledgement
}

// progress is the durable memory of what was acknowledged, by recipient. Losing it costs only sending again.
type progress struct {
	mu   sync.Mutex
	path string
	by   map[string]acknowledged
}

func loadProgress(path string) (*progress, error) {
	p := &progress{path: path, by: map[string]acknowledged{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &p.by); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func (p *progress) get(name string) (acknowledged, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.by[name]
	return a, ok
}

func (p *progress) set(name string, a acknowledged) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[name] = a
	b, err := json.MarshalIndent(p.by, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return err
	}
	return durable.Replace(p.path, b, 0o600)
}

// sender brings one recipient what it has not acknowledged.
type sender struct {
	l  *Ledger
	to Recipient

	mu   sync.Mutex
	fail error
}

func (s *sender) run(ctx context.Context, r journal.Reader) {
	backoff := time.Second
	for ctx.Err() == nil {
		done, known := s.l.state.get(s.to.Name)
		if known && done.Leaves >= s.l.Size() {
			pause(ctx, lookForNew)
			continue
		}
		sent, more, err := s.send(ctx, r, done.Leaves, known)
		s.setFail(err)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				s.l.o.Log.WarnContext(ctx, "send checkpoint", "recipient", s.to.Name, "error", err)
			}
			pause(ctx, backoff+rand.N(backoff/4))
			backoff = min(2*backoff, maxBackoff)
		case sent:
			backoff = time.Second
			s.l.report()
			if !more {
				pause(ctx, s.every())
			}
		default:
			pause(ctx, lookForNew)
		}
	}
}

// every is the pause between two bundles.
func (s *sender) every() time.Duration {
	if p, ok := s.to.Outlet.(paced); ok {
		return max(s.l.o.Every, p.Every())
	}
	return s.l.o.Every
}

// late is the open window that is longer than the recipients' pauses explain.
func (l *Ledger) late() time.Duration {
	out := time.Duration(0)
	for i, s := range l.senders {
		if e := s.every(); i == 0 || e < out {
			out = e
		}
	}
	return out + lateAfter
}

// last sends what is left, without trying again, when the ledger stops.
func (s *sender) last(ctx context.Context, r journal.Reader) {
	done, known := s.l.state.get(s.to.Name)
	if known && done.Leaves >= s.l.Size() {
		return
	}
	for more := true; more; done, known = s.l.state.get(s.to.Name) {
		var err error
		_, more, err = s.send(ctx, r, done.Leaves, known)
		s.setFail(err)
	}
}

// send sends one bundle, unless there is nothing under the newest checkpoint that the recipient has not.
func (s *sender) send(ctx context.Context, r journal.Reader, from uint64, known bool) (sent, more bool, err error) {
	b, err := s.l.bundle(ctx, r, from)
	if err != nil || known && b.To == from {
		return false, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := s.to.Outlet.Send(ctx, *b); err != nil {
		return false, false, err
	}
	return true, b.more, s.l.state.set(s.to.Name, acknowledged{b.To, s.l.o.Now()})
}

func (s *sender) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *sender) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail
}

// Window says how much an administrator could still change unseen: the frames, and since when, that no recipient outside has acknowledged.
// ok is false as long as no recipient has acknowledged anything.
func (l *Ledger) Window(ctx context.Context) (frames uint64, open time.Duration, ok bool) {
	best := uint64(0)
	for _, s := range l.senders {
		if a, known := l.state.get(s.to.Name); known {
			best, ok = max(best, a.Leaves), true
		}
	}
	size := l.Size()
	if best >= size {
		return 0, 0, ok
	}
	if leaves, err := l.leaves(ctx, best/256, size); err == nil {
		if h, err := parseLeaf(leaves[best%256]); err == nil {
			open = max(0, l.o.Now().Sub(h.Time))
		}
	}
	return size - best, open, ok
}

func (l *Ledger) reportEvery(ctx context.Context, d time.Duration) {
	for ctx.Err() == nil {
		l.report()
		pause(ctx, d)
	}
}

// report puts the items "ledger" and "checkpoints" on the health board.
func (l *Ledger) report() {
	ctx := context.Background()
	if fail := l.failed.Load(); fail != nil {
		l.o.Health.Set("ledger", health.Failed, *fail, "free disk space or repair the file system under ledger/; frames wait in the journal meanwhile")
	} else {
		l.o.Health.Set("ledger", health.OK, fmt.Sprintf("%d frames", l.Size()), "")
	}
	frames, open, ok := l.Window(ctx)
	detail := fmt.Sprintf("open window: %.0f s (%d frames that nobody outside has acknowledged)", open.Seconds(), frames)
	state, advice := health.OK, ""
	for _, s := range l.senders {
		if err := s.failure(); err != nil {
			state, advice = health.Degraded, fmt.Sprintf("recipient %s: %v", s.to.Name, err)
		}
	}
	switch {
	case len(l.senders) == 0:
		state, advice = health.Failed, "set ledger.checkpoints: until a checkpoint is kept outside this machine nothing can be proven"
	case !ok:
		state = health.Failed
		detail = "no recipient outside has acknowledged a checkpoint yet; " + detail
	case open > l.late():
		state = health.Degraded
	}
	l.o.Health.Set("checkpoints", state, detail, advice)
}
