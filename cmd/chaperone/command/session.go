//go:build linux

package command

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// idleAfter is how long a store stays open that no operation uses. A process that wants to serve it can begin then.
const idleAfter = 5 * time.Second

// What another process opened for its own records, as an agent does, it closes when it was idle: that is waited for.
const (
	lockPatience = 4 * idleAfter
	lockPause    = 200 * time.Millisecond
)

// session is the store that a command opened because nobody serves it. It stays open from one operation to the next: a run that records each
// of many findings opens it once.
type session struct {
	idle     time.Duration
	patience time.Duration // how long a store that another process holds is waited for

	mu     sync.Mutex
	of     DataFlags // whose store is open
	store  *server.Store
	ops    control.Operations
	uses   int
	failed error // closing it while idle
}

func newSession() *session { return &session{idle: idleAfter, patience: lockPatience} }

// run runs an operation on the store that the flags name.
func (s *session) run(e *Env, d *DataFlags, name string, args any, in io.Reader, out io.Writer) error {
	encoded, err := json.Marshal(args)
	if err != nil {
		return err
	}
	if in == nil {
		in = strings.NewReader("")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	if err := s.open(e, d); err != nil {
		return err
	}
	use := s.uses
	defer time.AfterFunc(s.idle, func() { s.rest(use) })
	caller, ok := s.store.Book.ByUser(uint32(os.Getuid()))
	if !ok {
		caller = control.Caller{}
	}
	return s.ops.Run(e.Ctx, name, &control.Call{Caller: caller, Args: encoded, In: in, Out: out})
}

// opened reports whether the store that the flags name is open here, so that nobody else serves it.
func (s *session) opened(d *DataFlags) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store != nil && s.of == *d
}

// open is called with mu held.
func (s *session) open(e *Env, d *DataFlags) error {
	if s.store != nil && s.of == *d {
		return nil
	}
	if err := s.shut(); err != nil {
		return err
	}
	cfg, err := d.Load()
	if err != nil {
		return err
	}
	r, err := server.LoadRules(cfg)
	if err != nil {
		return err
	}
	log := telemetry.NewLog(e.ErrOut, true, slog.LevelWarn)
	store, err := server.OpenStore(e.Ctx, cfg, r.Class, health.NewBoard(time.Now), log)
	for end := time.Now().Add(s.patience); errors.Is(err, journal.ErrLocked) && time.Now().Before(end) && e.Ctx.Err() == nil; {
		clock.Pause(e.Ctx, lockPause)
		store, err = server.OpenStore(e.Ctx, cfg, r.Class, health.NewBoard(time.Now), log)
	}
	if errors.Is(err, keyring.ErrNoKeys) && !errors.Is(err, keyring.ErrPublicLost) {
		return hint.New(err, "chaperone quickstart firm makes a configuration, accounts, and a data directory with keys at firm/data, which is what --data names")
	}
	if errors.Is(err, journal.ErrLocked) {
		return hint.New(err, "another chaperone uses this data directory and does not answer on its control socket. A scan or inspect that records holds it while it works, unless chaperone serve runs: then all work through that")
	}
	if err != nil {
		return err
	}
	store.Start(context.WithoutCancel(e.Ctx))
	s.of, s.store, s.ops = *d, store, server.Operations(store, r)
	return nil
}

// rest closes the store when it was not used since.
func (s *session) rest(use int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses == use {
		s.failed = errors.Join(s.failed, s.shut())
	}
}

// shut is called with mu held.
func (s *session) shut() error {
	if s.store == nil {
		return nil
	}
	store := s.store
	s.store, s.ops = nil, nil
	return store.Close()
}

// close ends the session, and says what went wrong with its store.
func (s *session) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++ // nothing is left to do for what waits for it to be idle
	return errors.Join(s.failed, s.shut())
}
