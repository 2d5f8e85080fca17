package execution_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/server/execution"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// kept is a journal on disk with what reads it.
type kept struct {
	*file.Journal
	to     event.Recorder
	opener *seal.TreeOpener
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func keep(t *testing.T, dir string) kept {
	t.Helper()
	j, _, err := file.Open(dir, file.Options{Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	key := must(seal.GenerateCompliance())(t)
	names := must(file.OpenNames(dir))(t)
	t.Cleanup(func() { names.Close() })
	keys := filepath.Join(dir, "keys")
	sealer := must(seal.NewSealer(keys, []*seal.PublicKey{key.Public()}, clock.System{}))(t)
	return kept{j, journal.NewRecorder(j, sealer, names, clock.System{}), seal.NewOpener(keys, key, []*seal.PublicKey{key.Public()})}
}

// follow opens the sums of a directory as serve does at its start, and returns their state in words.
func (k kept) follow(t *testing.T, dir string) (*execution.Tally, string) {
	t.Helper()
	x := open(t, dir)
	if err := x.Follow(t.Context(), k, k.opener); err != nil {
		t.Fatal(err)
	}
	return x, words(t, x)
}

func words(t *testing.T, x *execution.Tally) string {
	t.Helper()
	var b strings.Builder
	for _, f := range x.Fired("santa", exporttest.Plan(t, exporttest.Policy, export.Options{})) {
		if f.Times > 0 {
			fmt.Fprintf(&b, "%s %d %v; ", f.Key, f.Times, f.Hosts)
		}
	}
	for _, p := range x.Proposals(0) {
		fmt.Fprintf(&b, "%s %d %v; ", p.Name, p.Times, p.Hosts)
	}
	return b.String()
}

func written(t *testing.T, x *execution.Tally) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := x.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestAfterACrash: what was recorded after the sums were last written is counted from the records, once.
func TestAfterACrash(t *testing.T) {
	dir := t.TempDir()
	k := keep(t, dir)
	x, _ := k.follow(t, dir)
	to := x.Recorder(k.to)
	record(t, to, blocked("santa", "TEAMID:6N38VWS5BX", "a", 1), learned("/home/a/game", sum(1), "", "a", 2))
	written(t, x)
	record(t, to, blocked("santa", "TEAMID:6N38VWS5BX", "b", 3), learned("/home/a/game", sum(1), "", "b", 4), learned("/home/b/tool", sum(2), "", "b", 4))
	record(t, to, &event.Event{Kind: event.Gap, Reason: event.ReasonUnavailable})
	want := words(t, x)
	if !strings.Contains(want, "TEAMID:6N38VWS5BX 2 [a b]") || !strings.Contains(want, "/home/a/game 2 [a b]") {
		t.Fatalf("counted is %s", want)
	}
	for range 2 { // killed now, and again before anything is written
		again, got := k.follow(t, dir)
		if got != want {
			t.Errorf("after a crash:\n%s\nwant\n%s", got, want)
		}
		x = again
	}
	written(t, x)
	if _, got := k.follow(t, dir); got != want {
		t.Errorf("after a stop:\n%s\nwant\n%s", got, want)
	}
	record(t, x.Recorder(k.to), learned("/home/a/game", sum(1), "", "a", 5))
	var log bytes.Buffer
	blind, err := execution.Open(dir, clock.System{}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := blind.Follow(t.Context(), k, nil); err != nil || words(t, blind) != want || !strings.Contains(log.String(), "no key is unlocked") {
		t.Errorf("%v; without a key: %s; it says %s", err, words(t, blind), log.String())
	}
}

// TestCrashAtAnyMoment: whenever the file was written while others record, it and the journal give each record once.
func TestCrashAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	k := keep(t, dir)
	x, _ := k.follow(t, dir)
	to := x.Recorder(k.to)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for range 25 {
				if err := to.Record(t.Context(), learned("/home/a/game", sum(1), "", fmt.Sprint("h", g), 1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	var states [][]byte
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Millisecond):
		}
		written(t, x)
		states = append(states, must(os.ReadFile(filepath.Join(dir, "state", "execution.json")))(t))
	}
	for i, s := range states {
		if i%(1+len(states)/10) != 0 && i != len(states)-1 {
			continue
		}
		other := t.TempDir()
		if err := os.MkdirAll(filepath.Join(other, "state"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, "state", "execution.json"), s, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, got := k.follow(t, other); !strings.HasPrefix(got, "/home/a/game 100 ") {
			t.Errorf("from state %d of %d: %s", i, len(states), got)
		}
	}
}
