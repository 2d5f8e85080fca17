// Package execution sums up what agents and other enforcers record of programs: which exported rules ever fired, and what machines that learn
// would stop in lockdown.
//
// Both are sums over records, kept in one file beside the journal, so that they are there without reading anybody's record. The file is written
// some seconds after a change, and says up to where in the journal it counts: after a crash what came behind that is counted from the records
// (see Follow). Where no key is unlocked records cannot be read, and a crash loses the counts of those seconds, never a record.
package execution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Bounds of what is kept. When there is no more room what was seen longest ago goes.
const (
	maxKeys  = 20_000
	maxHosts = 50 // named of each
	maxFile  = 64 << 20
	saveWait = 5 * time.Second
)

// Count is how often something was seen.
type Count struct {
	Times int64     `json:"times"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Hosts []string  `json:"hosts"` // the first of them
	More  bool      `json:"more,omitempty"`
}

func (c *Count) add(e *event.Event) {
	if c.Times++; c.First.IsZero() || e.Time.Before(c.First) {
		c.First = e.Time
	}
	if e.Time.After(c.Last) {
		c.Last = e.Time
	}
	if name := e.Host.Name; name != "" && !slices.Contains(c.Hosts, name) {
		if c.More = len(c.Hosts) >= maxHosts; !c.More {
			c.Hosts = append(c.Hosts, name)
		}
	}
}

// File is a program that lockdown would stop.
type File struct {
	Path      string `json:"path"`
	SHA256    string `json:"sha256"`
	Publisher string `json:"publisher,omitempty"`
	Count
}

type state struct {
	Since   time.Time                    `json:"since"`   // of the counts
	Fired   map[string]map[string]*Count `json:"fired"`   // by enforcer and key
	Learned map[string]*File             `json:"learned"` // by SHA-256
	Through map[string]uint64            `json:"through"` // the last frame of each stream that is counted
}

// Tally is the sums of one data directory. It is safe for concurrent use.
type Tally struct {
	path  string
	clock clock.Clock
	log   *slog.Logger

	gate    sync.RWMutex // held for reading from before a record is durable until it is counted
	frames  func() (map[string]uint64, error)
	mu      sync.Mutex
	d       state
	changed chan struct{}
}

// Open opens the sums below a data directory.
func Open(data string, c clock.Clock, log *slog.Logger) (*Tally, error) {
	t := &Tally{path: filepath.Join(data, "state", "execution.json"), clock: c, log: log, changed: make(chan struct{}, 1)}
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return nil, fmt.Errorf("sums of programs: %w", err)
	}
	b, err := outside.ReadFile(t.path, maxFile)
	if err == nil {
		err = json.Unmarshal(b, &t.d)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sums of programs: %w", err)
	}
	if t.d.Since.IsZero() {
		t.d.Since = c.Now().UTC()
	}
	if t.d.Fired == nil {
		t.d.Fired = map[string]map[string]*Count{}
	}
	if t.d.Learned == nil {
		t.d.Learned = map[string]*File{}
	}
	return t, nil
}

// Run writes the sums after changes, until the context ends.
func (t *Tally) Run(ctx context.Context) error {
	for {
		select {
		case <-t.changed:
		case <-ctx.Done():
			return t.save()
		}
		clock.Pause(ctx, saveWait)
		if err := t.save(); err != nil {
			t.log.Error("sums of programs", "error", err)
		}
	}
}

func (t *Tally) save() error {
	b, err := t.state()
	if err != nil {
		return err
	}
	return durable.Replace(t.path, b, 0o600)
}

// state encodes the sums, with the place in the journal up to which they count: nobody is between recording and counting.
func (t *Tally) state() ([]byte, error) {
	t.gate.Lock()
	defer t.gate.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.frames != nil {
		through, err := t.frames()
		if err != nil {
			return nil, err
		}
		t.d.Through = through
	}
	return json.Marshal(t.d)
}

// Recorder returns a recorder that sums up what the next one made durable.
func (t *Tally) Recorder(next event.Recorder) event.Recorder { return tap{t, next} }

type tap struct {
	t    *Tally
	next event.Recorder
}

// Record implements event.Recorder.
func (r tap) Record(ctx context.Context, events ...*event.Event) error {
	if !slices.ContainsFunc(events, counts) {
		return r.next.Record(ctx, events...)
	}
	r.t.gate.RLock()
	defer r.t.gate.RUnlock()
	if err := r.next.Record(ctx, events...); err != nil {
		return err
	}
	for _, e := range events {
		if counts(e) {
			r.t.add(e)
		}
	}
	return nil
}

// counts reports whether a record is summed up.
func counts(e *event.Event) bool { return e.Kind == event.ProgramRun && e.Program != nil }

// add sums up one start of a program.
func (t *Tally) add(e *event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range e.Evidence {
		if enforcer, ok := enforcerOf(x); ok {
			t.fired(enforcer, x.Value, e)
		}
	}
	if learns(e) {
		f := t.d.Learned[e.Program.SHA256]
		if f == nil {
			f = &File{Path: e.Program.Path, SHA256: e.Program.SHA256}
			t.d.Learned[f.SHA256] = f
			trim(t.d.Learned, func(f *File) time.Time { return f.Last })
		}
		if f.Publisher == "" {
			f.Publisher = e.Program.Publisher
		}
		f.add(e)
	}
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *Tally) fired(enforcer, key string, e *event.Event) {
	keys := t.d.Fired[enforcer]
	if keys == nil {
		keys = map[string]*Count{}
		t.d.Fired[enforcer] = keys
	}
	c := keys[key]
	if c == nil {
		c = &Count{}
		keys[key] = c
		trim(keys, func(c *Count) time.Time { return c.Last })
	}
	c.add(e)
}

// trim takes the oldest tenth out of what has become too much. What was just put in has no time yet and stays.
func trim[V any](m map[string]V, last func(V) time.Time) {
	if len(m) <= maxKeys {
		return
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return last(m[a]).Compare(last(m[b])) })
	n := 0
	for _, k := range keys {
		if n < maxKeys/10 && !last(m[k]).IsZero() {
			delete(m, k)
			n++
		}
	}
}
