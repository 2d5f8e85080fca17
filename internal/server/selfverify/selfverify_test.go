package selfverify_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/server/selfverify"
)

// unrecorded is an event.Recorder that keeps nothing.
type unrecorded struct{}

func (unrecorded) Record(context.Context, ...*event.Event) error { return nil }

// TestTurnsOfSelfVerification: with a clock of the test's own. A serve that is restarted more often than the interval has its turns too.
func TestTurnsOfSelfVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := filepath.Join(t.TempDir(), "verified.json")
		var turns []time.Duration
		broken, start := false, time.Now()
		up := func(d time.Duration) (n int) { // serves for a while; how many turns there were
			turns = nil
			began := time.Now()
			v := selfverify.WithVerify(selfverify.Config{State: state, Record: unrecorded{}, Board: health.NewBoard(time.Now), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)}, func(context.Context) (console.VerifyResult, error) {
				turns = append(turns, time.Since(began))
				return console.VerifyResult{Broken: broken, Words: "words"}, nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := v.Run(ctx); err != nil {
				t.Error(err)
			}
			return len(turns)
		}
		if n := up(10 * time.Hour); n != 1 || turns[0] != time.Minute {
			t.Errorf("a new installation: %d turns, %v", n, turns)
		}
		if n := up(10 * time.Hour); n != 0 {
			t.Errorf("a restart before the interval is over: %v", turns)
		}
		if n := up(10 * time.Hour); n != 1 || turns[0] != 4*time.Hour+time.Minute {
			t.Errorf("the rest of the interval: %v", turns)
		}
		time.Sleep(48 * time.Hour)
		if n := up(50 * time.Hour); n != 3 || turns[0] != time.Minute || turns[2] != 48*time.Hour+time.Minute {
			t.Errorf("after two days off: %v", turns)
		}
		broken = true
		up(24 * time.Hour)
		if n := up(time.Hour); n != 1 || turns[0] != time.Minute {
			t.Errorf("a break, and a restart: %v", turns)
		}
		if err := os.WriteFile(state, []byte(`{"time":"`+start.AddDate(1, 0, 0).Format(time.RFC3339)+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := up(time.Hour); n != 1 {
			t.Errorf("a last turn in the future: %v", turns)
		}
		if err := os.WriteFile(state, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := up(time.Hour); n != 1 {
			t.Errorf("a state file that cannot be read: %v", turns)
		}
	})
}

// TestSelfVerificationRests: of the time that a turn takes it works a quarter, and it ends with its context.
func TestSelfVerificationRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		selfverify.Rest(t.Context(), func() { time.Sleep(time.Second) })
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("a second of work took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began = time.Now()
		selfverify.Rest(ctx, func() { time.Sleep(time.Second) })
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the end came after %s", took)
		}
	})
}
