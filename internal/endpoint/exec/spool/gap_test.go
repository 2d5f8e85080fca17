package spool_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/spool"
	"github.com/chaperone-im/chaperone/internal/event"
)

// full leaves files of this process no room to grow, as a full disk does, until room is called.
func full(t *testing.T) (room func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	set := func(now uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: now, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	set(600)
	room = func() { set(was.Cur) }
	t.Cleanup(room)
	return room
}

// begin runs a spool until end is called.
func begin(t *testing.T, s *spool.Spool) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// drop hands over events that find no room, and waits until they are counted.
func drop(s *spool.Spool, n int) {
	for range n {
		counted := make(chan struct{})
		s.PutThen(stop("/home/alice/a-path-that-is-long-enough/"+strings.Repeat("x", 600)), func() { close(counted) })
		<-counted
	}
}

// wantGap reads the one gap that a spool holds.
func wantGap(t *testing.T, dir string, begun time.Time) {
	t.Helper()
	r := &recorder{more: make(chan struct{}, 1)}
	run(t, dir, r, 1)
	if len(r.events) != 1 || r.events[0].Kind != event.Gap {
		t.Fatalf("%d events", len(r.events))
	}
	g := r.events[0]
	if !strings.HasPrefix(g.Explanation, "7 events were dropped") || !strings.Contains(g.Explanation, "file too large") || strings.Contains(g.Explanation, dir) ||
		g.Time.Before(begun) || !g.Until.After(g.Time) || g.Host.Name != "laptop-17" {
		t.Errorf("%+v, from %s to %s of %+v", g.Explanation, g.Time, g.Until, g.Host)
	}
}

func open(t *testing.T, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.About(event.Host{Name: "laptop-17"})
	return s
}

// TestDroppedWhileFull puts on record what a full disk had dropped: as soon as there is room though nothing else happens, at the end, and by the
// next process, where the one that counted was killed.
func TestDroppedWhileFull(t *testing.T) {
	t.Run("by itself", func(t *testing.T) {
		dir, begun := t.TempDir(), time.Now()
		s := open(t, dir)
		room, end := full(t), begin(t, s)
		drop(s, 7)
		room()
		for limit := time.Now().Add(time.Minute); s.Pending() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("nobody says that events were dropped")
			}
		}
		end()
		wantGap(t, dir, begun)
	})
	t.Run("at the end", func(t *testing.T) {
		dir, begun := t.TempDir(), time.Now()
		s := open(t, dir)
		room, end := full(t), begin(t, s)
		drop(s, 7)
		room()
		end()
		wantGap(t, dir, begun)
	})
	t.Run("killed", func(t *testing.T) {
		dir, begun := t.TempDir(), time.Now()
		s := open(t, dir)
		room, end := full(t), begin(t, s)
		drop(s, 7)
		b, err := os.ReadFile(filepath.Join(dir, "dropped.json")) // as the next process finds it
		if err != nil {
			t.Fatal(err)
		}
		end()
		room()
		next := t.TempDir()
		if err := os.WriteFile(filepath.Join(next, "dropped.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		begin(t, open(t, next))()
		wantGap(t, next, begun)
	})
	t.Run("stopped while full", func(t *testing.T) {
		dir, begun := t.TempDir(), time.Now()
		s := open(t, dir)
		room, end := full(t), begin(t, s)
		drop(s, 7)
		end()
		room()
		begin(t, open(t, dir))()
		wantGap(t, dir, begun)
		again := &recorder{more: make(chan struct{}, 1)}
		run(t, dir, again, 0)
		if len(again.events) > 0 {
			t.Error("it is said twice")
		}
	})
}

// TestDamagedCount begins anew.
func TestDamagedCount(t *testing.T) {
	for _, text := range []string{"", "{", "null", strings.Repeat(" ", 512), `{"dropped":-1}` + strings.Repeat(" ", 498), strings.Repeat("x", 5000)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "dropped.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		begin(t, open(t, dir))()
		b, err := os.ReadFile(filepath.Join(dir, "spool.jsonl"))
		if err != nil || len(b) > 0 {
			t.Errorf("%q: %s, %v", text, b, err)
		}
	}
}

// flaky is a recorder that fails for a while, in the middle of what it is asked.
type flaky struct {
	recorder
	calls, fails int
}

func (f *flaky) Record(ctx context.Context, events ...*event.Event) error {
	if f.calls++; f.calls <= f.fails {
		return errors.New("recording stopped: no space left on device")
	}
	return f.recorder.Record(ctx, events...)
}

// TestPassingFault loses and sets aside nothing, whenever the recorder is well again.
func TestPassingFault(t *testing.T) {
	for fails := range 8 {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			r := &flaky{recorder: recorder{more: make(chan struct{}, 100)}, fails: fails}
			s, err := spool.Open(dir, r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Record(t.Context(), stop("/a"), stop("/b"), stop("/refused"), stop("/c"), stop("/d")); err != nil {
				t.Fatal(err)
			}
			end := begin(t, s)
			time.Sleep(time.Hour)
			end()
			got := map[string]bool{}
			for _, e := range r.events {
				got[e.Program.Path] = true
			}
			b, err := os.ReadFile(filepath.Join(dir, "spool.jsonl.refused"))
			if len(got) != 4 || err != nil || strings.Count(string(b), "\n") != 1 || !strings.Contains(string(b), "/refused") {
				t.Errorf("failed %d times: %d on record; set aside: %s (%v)", fails, len(got), b, err)
			}
		})
	}
}
