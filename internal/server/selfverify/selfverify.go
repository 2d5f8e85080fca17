// Package selfverify verifies the whole record in turns, as a guest on the machine (SEC 17a-4(f)(2)(ii)). What a turn finds is a health item and
// an act; a break that was found stays on the board until a later turn finds none.
package selfverify

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/outside"
)

const (
	verifyEvery  = 24 * time.Hour
	verifySoon   = time.Minute // after the start, when a turn is due
	verifyShare  = 4           // it works one part in so many of its time, on one CPU and one disk
	verifyNice   = 10
	verifyItem   = "verification"
	brokenAdvice = "Do not delete anything. Copy the data directory, run chaperone verify --checkpoint with one from outside on the copy, and restore what differs from the backup."
)

// Config is what a Verifier works with.
type Config struct {
	Dir    string        // data directory
	Keys   string        // its keys, "" where they lie in it
	State  string        // file that holds when the last turn was, so that a serve that is restarted each day has its turns
	Every  time.Duration // 0 is a day, below zero never
	Record event.Recorder
	Board  *health.Board
	Clock  clock.Clock
	Log    *slog.Logger
}

// Verifier verifies the whole record once in each interval.
type Verifier struct {
	c      Config
	verify func(context.Context) (console.VerifyResult, error)
}

// New returns a Verifier; Run must run for it to have turns.
func New(c Config) *Verifier {
	if c.Every == 0 {
		c.Every = verifyEvery
	}
	return &Verifier{c, verifyQuietly(c.Dir, c.Keys)}
}

// lastTurn is what the state file holds.
type lastTurn struct {
	Time   time.Time `json:"time"`
	Broken bool      `json:"broken,omitempty"`
}

// Run takes turns until the context ends.
func (v *Verifier) Run(ctx context.Context) error {
	if v.c.Every < 0 {
		return nil
	}
	for wait := untilTurn(v.last(), v.c.Clock.Now(), v.c.Every); ; wait = v.c.Every {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			v.Turn(ctx)
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// untilTurn returns how long after the start the first turn comes: soon, when the last one is older than the interval, found a break (which
// health shall not forget by a restart), is not known, or lies in the future.
func untilTurn(last lastTurn, now time.Time, every time.Duration) time.Duration {
	soon := min(verifySoon, every)
	if last.Time.IsZero() || last.Broken || last.Time.After(now) {
		return soon
	}
	return max(last.Time.Add(every).Sub(now), soon)
}

// last returns when the last turn was; nothing when that cannot be read, and a turn is due then.
func (v *Verifier) last() lastTurn {
	var l lastTurn
	if b, err := outside.ReadFile(v.c.State, 1<<10); err != nil || json.Unmarshal(b, &l) != nil {
		return lastTurn{}
	}
	return l
}

// Turn is one turn. Records go on meanwhile: what is written while it reads lies in the open window.
func (v *Verifier) Turn(ctx context.Context) {
	began := v.c.Clock.Now()
	result, err := v.verify(ctx)
	if ctx.Err() != nil {
		return
	}
	words := result.Words
	switch {
	case err != nil:
		words = "not verified: " + err.Error()
		v.c.Board.Set(verifyItem, health.Degraded, words, "The record could not be read to its end; see the disk, then run chaperone verify.")
	case result.Broken:
		v.c.Log.Error("self-verification", "result", words, "findings", len(result.Findings))
		v.c.Board.Set(verifyItem, health.Failed, brokenDetail(result), brokenAdvice)
	default:
		v.c.Board.Set(verifyItem, health.OK, fmt.Sprintf("%s; %d records in %s", words, result.Records, result.Took), "")
	}
	act := &event.Event{Kind: event.Act, Phase: "verify.self", Connector: "serve", Content: event.Content{Act: &event.ActDetail{Action: "verify.self", Object: "record",
		Details: []event.Fact{{Name: "result", Value: words}, {Name: "findings", Value: fmt.Sprint(len(result.Findings))}}}}}
	if err := v.c.Record.Record(ctx, act); err != nil && ctx.Err() == nil {
		v.c.Log.Error("record an act", "act", "verify.self", "error", err)
	}
	if err == nil {
		v.keep(lastTurn{began, result.Broken})
	}
}

// keep writes when the turn was. Without it the next start has a turn soon.
func (v *Verifier) keep(l lastTurn) {
	b, err := json.Marshal(l)
	if err == nil {
		err = durable.Replace(v.c.State, b, 0o600)
	}
	if err != nil {
		v.c.Log.Warn("self-verification: keep the time of the turn", "error", err)
	}
}

// brokenDetail is the words and the first finding.
func brokenDetail(r console.VerifyResult) string {
	if len(r.Findings) == 0 {
		return r.Words
	}
	return fmt.Sprintf("%s: %s (%d findings)", r.Words, r.Findings[0], len(r.Findings))
}

// verifyQuietly verifies a data directory as a guest on the machine: with a low priority, and idle most of the time.
func verifyQuietly(dir, keys string) func(context.Context) (console.VerifyResult, error) {
	return func(ctx context.Context) (r console.VerifyResult, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread, whose priority cannot be raised again, ends with the goroutine
			unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), verifyNice)
			rest := &throttle{ctx: ctx, since: time.Now()}
			r, err = Now(ctx, dir, verify.Options{Keys: keys, Pause: rest.pause})
		}()
		<-done
		return r, err
	}
}

// throttle rests in proportion to the time that went by at work, be it on the CPU or waiting for the disk.
type throttle struct {
	ctx   context.Context // of the turn that it is part of
	since time.Time
}

func (t *throttle) pause() {
	timer := time.NewTimer((verifyShare - 1) * time.Since(t.since))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
	t.since = time.Now()
}

// Now verifies a data directory at once, with nothing from outside: at best CONSISTENT, NOT PROVEN.
func Now(ctx context.Context, dir string, o verify.Options) (console.VerifyResult, error) {
	start := time.Now()
	r, err := verify.Verify(ctx, dir, o)
	if err != nil {
		return console.VerifyResult{}, err
	}
	out := console.VerifyResult{Broken: r.Verdict == verify.Broken, Words: r.Words, Records: int(r.Records), Took: time.Since(start).Round(time.Millisecond)}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, f.String())
	}
	return out, nil
}
