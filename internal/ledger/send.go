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
	Leaves uint64    `json:"leaves"`         // it has the record hashes of the frames below
	Time   time.Time `json:"time"`           // of its last acknowledgement
	Near   bool      `json:"near,omitempty"` // it lies where whoever can change the data can change it too
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
	if err = json.Unmarshal(b, &p.by); err == nil && p.by == nil {
		err = errors.New("it holds nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; move it away: every recipient is then sent all checkpoints again", path, err)
	}
	return p, nil
}

// CheckMemory reads what the ledger keeps in dir/state about how far it has come, and says which file is damaged. It changes nothing.
func CheckMemory(dir string) error {
	_, sent := loadProgress(progressPath(dir))
	_, rolled := loadRolls(rollsPath(dir))
	return errors.Join(sent, rolled)
}

func progressPath(dir string) string { return filepath.Join(dir, "state", "checkpoints.json") }

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
	near := false
	if p, ok := s.to.Outlet.(placed); ok {
		near = p.Near(s.l.dir)
	}
	return true, b.more, s.l.state.set(s.to.Name, acknowledged{b.To, s.l.o.Now(), near})
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
