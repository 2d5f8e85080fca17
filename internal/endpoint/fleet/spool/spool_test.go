package spool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/event"
)

func open(t testing.TB, dir string, limit int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func item(text string) protocol.Item {
	return protocol.Item{Kind: protocol.EventItem, Body: []byte(text)}
}

func next(t testing.TB, s *spool.Spool) protocol.Items {
	t.Helper()
	items, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// TestOrderAndNumbers: items come in order, again until they are acknowledged, and numbers go on over restarts.
func TestOrderAndNumbers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	for i := range 5 {
		if err := s.Add(item(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ack(2); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := next(t, s); got.First != 3 || len(got.List) != 3 || string(got.List[0].Body) != "2" {
			t.Errorf("%+v", got)
		}
	}
	if err := s.Ack(6); err == nil {
		t.Error("what was never added is acknowledged")
	}
	name := s.Name()
	s.Close()
	s = open(t, dir, 0)
	if got := next(t, s); s.Name() != name || got.First != 1 || len(got.List) != 5 {
		t.Errorf("after a restart: %+v", got) // the server knows what it has; nothing is lost here
	}
	if err := s.Ack(5); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, 0)
	if err := s.Add(item("5")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, s); got.First != 6 || len(got.List) != 1 {
		t.Errorf("a number was given twice: %+v", got)
	}
}

// TestTorn: what a crash left half written is cut off, at every byte of it, and all before it is there.
func TestTorn(t *testing.T) {
	whole := t.TempDir()
	s := open(t, whole, 0)
	if err := s.Add(item("kept"), item("also kept")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(whole, fmt.Sprintf("%020d.seg", 1))
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(item("torn")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := int(before.Size()); n <= len(raw); n++ {
		for _, flip := range []bool{false, true} {
			b := append([]byte(nil), raw[:n]...)
			if flip && n > int(before.Size()) {
				b[n-1] ^= 1
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := spool.Open(whole, 0)
			if err != nil {
				t.Fatal(err)
			}
			want := 2
			if n == len(raw) && !flip {
				want = 3
			}
			if got := next(t, s); len(got.List) != want || string(got.List[1].Body) != "also kept" {
				t.Errorf("cut at %d: %d items", n, len(got.List))
			}
			s.Close()
		}
	}
}

// TestFull: a full spool refuses and says so in a gap when there is room again.
func TestFull(t *testing.T) {
	s := open(t, t.TempDir(), 3<<20)
	r := spool.NewRecorder(s, event.Host{Name: "laptop-17"}, time.Now)
	one := func() error {
		return r.Record(t.Context(), &event.Event{Kind: event.FindingHit, Content: event.Content{Explanation: strings.Repeat("x", 100<<10)}})
	}
	taken, refused := 0, 0
	for range 40 {
		switch err := one(); {
		case err == nil:
			taken++
		case errors.Is(err, spool.ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if taken == 0 || refused == 0 || taken+refused != 40 {
		t.Fatalf("%d taken, %d refused", taken, refused)
	}
	for s.Waiting() > 0 {
		items := next(t, s)
		if len(items.List) == 0 {
			t.Fatal("items wait and none come")
		}
		if err := s.Ack(items.Last()); err != nil {
			t.Fatal(err)
		}
	}
	if err := one(); err != nil {
		t.Fatal(err)
	}
	items := next(t, s)
	gap, err := protocol.DecodeEvent(items.List[0].Body)
	if err != nil || gap.Kind != event.Gap || !strings.Contains(gap.Explanation, fmt.Sprintf("%d events", refused)) || len(items.List) != 2 {
		t.Errorf("%+v, %v", gap, err)
	}
}

// TestRefusedOnce: who keeps an event and tries it again makes it no more than one that is missing, and none once it is recorded.
func TestRefusedOnce(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	r := spool.NewRecorder(s, event.Host{Name: "laptop-17"}, time.Now)
	made := func(n int) *event.Event {
		return &event.Event{ID: event.NewID(), Kind: event.FindingHit, Content: event.Content{Explanation: strings.Repeat("x", n)}}
	}
	for r.Record(t.Context(), made(100<<10)) == nil {
	}
	empty := func() {
		t.Helper()
		for s.Waiting() > 0 {
			if err := s.Ack(next(t, s).Last()); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := func() *event.Event {
		t.Helper()
		items := next(t, s)
		e, err := protocol.DecodeEvent(items.List[0].Body)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	kept, dropped := made(150<<10), made(150<<10)
	for range 5 {
		if err := r.Record(t.Context(), kept); !errors.Is(err, spool.ErrFull) {
			t.Fatal(err)
		}
	}
	if err := r.Record(t.Context(), kept, dropped); !errors.Is(err, spool.ErrFull) {
		t.Fatal(err)
	}
	empty()
	if err := r.Record(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if gap := first(); gap.Kind != event.Gap || !strings.Contains(gap.Explanation, ": 2 events were refused") { // that which filled it up, and what was dropped
		t.Errorf("%s", gap.Explanation)
	}
	for r.Record(t.Context(), kept) == nil {
	}
	for range 3 {
		r.Record(t.Context(), kept)
	}
	empty()
	if err := r.Record(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if e := first(); e.ID != kept.ID {
		t.Errorf("a gap for what was recorded after all: %s", e.Explanation)
	}
}

func TestWait(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Wait(t.Context()) }()
	if err := s.Add(item("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.Close()
	if err := s.Add(item("y")); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// FuzzSegment: whatever lies in a segment, opening cuts it off after its last whole item.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	s := open(f, dir, 0)
	if err := s.Add(item("a"), item("b")); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%020d.seg", 1))
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:12])
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d.seg", 1)), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, 0)
		first := next(t, s)
		if err := s.Add(item("more")); err != nil {
			t.Fatal(err)
		}
		if again := next(t, s); len(first.List) < 400 && len(again.List) != len(first.List)+1 {
			t.Errorf("%d items and one more are %d", len(first.List), len(again.List))
		}
	})
}
