package spool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/spool"
	"github.com/chaperone-im/chaperone/internal/event"
)

type recorder struct {
	mu     sync.Mutex
	events []*event.Event
	err    error
	more   chan struct{}
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if e.Program != nil && e.Program.Path == "/refused" {
			return event.Unfit(errors.New("refused"))
		}
	}
	if r.err == nil {
		r.events = append(r.events, events...)
	}
	select {
	case r.more <- struct{}{}:
	default:
	}
	return r.err
}

func stop(path string) *event.Event {
	now := time.Now().UTC()
	return &event.Event{ID: event.NewID(), Kind: event.ProgramRun, Time: now, Received: now, Verdict: event.Verdict{Action: event.Block, Rule: "x"},
		Content: event.Content{Program: &event.Program{Path: path, SHA256: "ab"}, Evidence: []event.Evidence{{Fact: "f", Strength: event.High}}}}
}

// run runs a spool until the recorder was called n times.
func run(t *testing.T, dir string, r *recorder, calls int, events ...*event.Event) {
	t.Helper()
	var to event.Recorder
	if r != nil {
		to = r
	}
	s, err := spool.Open(dir, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		s.Put(e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	for range calls {
		<-r.more
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsNotRecordedStays goes through a recorder that fails, and a process that ends: the next one records it, whole.
func TestWhatIsNotRecordedStays(t *testing.T) {
	dir := t.TempDir()
	sent := stop("/home/alice/x")
	run(t, dir, nil, 0, sent)
	failing := &recorder{err: errors.New("no journal"), more: make(chan struct{})}
	run(t, dir, failing, 1, stop("/second"))
	f, err := os.OpenFile(filepath.Join(dir, "spool.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"ID":"cut off`); err != nil { // as a crash leaves it
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r := &recorder{more: make(chan struct{})}
	run(t, dir, r, 1)
	if len(r.events) != 2 {
		t.Fatalf("%d events", len(r.events))
	}
	got := r.events[0]
	if got.ID != sent.ID || got.Program.Path != sent.Program.Path || got.Verdict.Rule != "x" || len(got.Evidence) != 1 || !got.Time.Equal(sent.Time) {
		t.Errorf("%+v", got)
	}
}

// TestPutNeverWaits hands over more than there is room for, while nothing is written: what is dropped is counted, and the count is an event.
func TestPutNeverWaits(t *testing.T) {
	dir := t.TempDir()
	r := &recorder{more: make(chan struct{}, 1)}
	s, err := spool.Open(dir, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		s.Put(stop("/x"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it still writes what was handed over
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	run(t, dir, r, 5)
	dropped := false
	for _, e := range r.events {
		dropped = dropped || e.Kind == event.Gap && e.Explanation != ""
	}
	if !dropped {
		t.Errorf("%d events and no word of the others", len(r.events))
	}
}

func TestRecordIsDurable(t *testing.T) {
	s, err := spool.Open(t.TempDir(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), stop("/x")); err != nil || s.Pending() == 0 {
		t.Error(err, s.Pending())
	}
}

// TestSoon tries again at once when a person waits, however long nobody could be reached.
func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{err: errors.New("nobody there"), more: make(chan struct{}, 1)}
		s, err := spool.Open(t.TempDir(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		s.Put(stop("/x"))
		time.Sleep(10 * time.Minute)
		r.mu.Lock()
		r.err = nil
		r.mu.Unlock()
		begun := time.Now()
		s.Soon()
		synctest.Wait()
		if r.mu.Lock(); len(r.events) != 1 || !time.Now().Equal(begun) {
			t.Errorf("%d events after %s", len(r.events), time.Since(begun))
		}
		r.mu.Unlock()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestNoFolder(t *testing.T) {
	if _, err := spool.Open("/dev/null/x", nil, nil); err == nil {
		t.Error("opened")
	}
}

// TestOneThatIsRefused does not hold up the others, and is kept aside.
func TestOneThatIsRefused(t *testing.T) {
	dir := t.TempDir()
	r := &recorder{more: make(chan struct{}, 10)}
	run(t, dir, r, 3, stop("/a"), stop("/refused"), stop("/b"), stop("/c"))
	if len(r.events) != 3 || r.events[2].Program.Path != "/c" {
		t.Errorf("%d events", len(r.events))
	}
	b, err := os.ReadFile(filepath.Join(dir, "spool.jsonl.refused"))
	if err != nil || !strings.Contains(string(b), "/refused") {
		t.Errorf("%s, %v", b, err)
	}
}
