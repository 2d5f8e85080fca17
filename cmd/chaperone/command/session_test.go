package command

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// newData makes a data directory that nobody serves.
func newData(t *testing.T) *DataFlags {
	t.Helper()
	dir := t.TempDir()
	_, err := quickstart.Write(quickstart.Options{Dir: dir, Profile: "plain", Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2})
	if err != nil {
		t.Fatal(err)
	}
	return &DataFlags{Config: filepath.Join(dir, "chaperone.yaml")}
}

// free reports whether somebody else could open the data directory now.
func free(t *testing.T, d *DataFlags) bool {
	t.Helper()
	dir, err := d.Dir()
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := file.Open(dir, file.Options{})
	if errors.Is(err, journal.ErrLocked) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

// twoOperations is a command line that uses a data directory twice.
type twoOperations struct {
	Go struct{ manyCmd } `cmd:""`
}

type manyCmd struct {
	t *testing.T
	d *DataFlags
}

func (c manyCmd) Run(e *Env) error {
	for range 3 {
		if err := Operate(e, c.d, "health", struct{}{}, nil, io.Discard); err != nil {
			return err
		}
		if free(c.t, c.d) {
			c.t.Error("the store was closed between two operations of one run")
		}
	}
	return ErrFindings
}

// TestOneOpenForARun: what a run opens stays open until it ends, and no longer.
func TestOneOpenForARun(t *testing.T) {
	d := newData(t)
	var cli twoOperations
	cli.Go.t, cli.Go.d = t, d
	var said strings.Builder
	if status := Run(&cli, []string{"go"}, &Env{Ctx: t.Context(), Out: io.Discard, ErrOut: &said}); status != 1 {
		t.Errorf("status %d, %s", status, &said)
	}
	if !free(t, d) {
		t.Error("the store stays open behind the run")
	}
	if err := Operate(&Env{Ctx: t.Context(), ErrOut: io.Discard}, d, "health", struct{}{}, nil, io.Discard); err != nil || !free(t, d) {
		t.Errorf("one operation leaves the store open (%v)", err)
	}
}

// TestIdleSession gives a store back that nobody uses, and opens it again.
func TestIdleSession(t *testing.T) {
	d := newData(t)
	s := &session{idle: time.Millisecond}
	e := &Env{Ctx: t.Context(), ErrOut: io.Discard, session: s}
	for range 2 {
		if err := Operate(e, d, "health", struct{}{}, nil, io.Discard); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Minute); s.opened(d) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if !free(t, d) {
			t.Error("the store is open still")
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestInterrupted: what was found before Ctrl-C is recorded to its end, and counted.
func TestInterrupted(t *testing.T) {
	d := newData(t)
	ctx, interrupt := context.WithCancel(t.Context())
	e := &Env{Ctx: ctx, ErrOut: io.Discard}
	r := d.Remote(e)
	if err := Interrupted(e, io.EOF, r); !errors.Is(err, io.EOF) {
		t.Errorf("an error before any interruption became %v", err)
	}
	interrupt()
	if err := r.Record(ctx, &event.Event{Kind: event.FindingHit, Time: time.Now(), Content: event.Content{Program: &event.Program{Path: "/x"}}}); err != nil {
		t.Fatal(err)
	}
	err := Interrupted(e, ctx.Err(), r)
	if !strings.Contains(err.Error(), "1 findings of this run are on record") || !strings.Contains(hint.Of(err), "run it again") {
		t.Errorf("%v (%s)", err, hint.Of(err))
	}
	if err := Interrupted(e, ctx.Err(), nil); !strings.Contains(err.Error(), "nothing was recorded") {
		t.Error(err)
	}
	if err := Interrupted(e, io.EOF, r); !errors.Is(err, io.EOF) {
		t.Errorf("another error became %v", err)
	}
}

// TestGraced ends a while after the context that it is made of, and with its own end.
func TestGraced(t *testing.T) {
	outer, interrupt := context.WithCancel(t.Context())
	inner, stop := graced(outer, time.Millisecond)
	interrupt()
	<-inner.Done()
	stop()
	inner, stop = graced(outer, time.Hour)
	if inner.Err() != nil {
		t.Error("no grace")
	}
	stop()
	<-inner.Done()
}

// TestWaitsForAnIdleStore: what an agent opened for its own records is waited for, and what is held for long is told.
func TestWaitsForAnIdleStore(t *testing.T) {
	d := newData(t)
	agent := &session{idle: 300 * time.Millisecond}
	theirs := &Env{Ctx: t.Context(), ErrOut: io.Discard, session: agent}
	if err := Operate(theirs, d, "health", struct{}{}, nil, io.Discard); err != nil {
		t.Fatal(err)
	}
	ours := &session{idle: time.Millisecond, patience: time.Minute}
	if err := Operate(&Env{Ctx: t.Context(), ErrOut: io.Discard, session: ours}, d, "health", struct{}{}, nil, io.Discard); err != nil {
		t.Errorf("it was not waited for: %v", err)
	}
	if err := errors.Join(agent.close(), ours.close()); err != nil {
		t.Fatal(err)
	}
	dir, err := d.Dir()
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := file.Open(dir, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	hasty := &session{idle: time.Millisecond, patience: time.Millisecond}
	err = Operate(&Env{Ctx: t.Context(), ErrOut: io.Discard, session: hasty}, d, "health", struct{}{}, nil, io.Discard)
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(hint.Of(err), "another chaperone") {
		t.Errorf("what is held for long: %v (%s)", err, hint.Of(err))
	}
}
