package dns

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Bounds of the way to the journal.
const (
	batch        = 64
	repeatWindow = time.Minute
	maxRepeats   = 8192
	drainTime    = 5 * time.Second
)

// ReasonOverload is the reason of a gap: stopped questions that are not on record because the journal was too slow or refused them.
const ReasonOverload = "overload"

// keeper brings stopped questions to the journal, and allowed ones to the observer, without ever making an answer wait.
type keeper struct {
	connector string
	dep       *Deps
	stats     *counters
	queue     chan *event.Event
	lost      atomic.Int64         // since the last gap was recorded
	repeats   map[repeat]time.Time // of the goroutine that runs
	ill       bool
}

// repeat is the same stop again: clients ask refused names every few seconds.
type repeat struct{ client, name, kind, rule string }

func newKeeper(connector string, length int, dep *Deps, stats *counters) *keeper {
	return &keeper{connector: connector, dep: dep, stats: stats, queue: make(chan *event.Event, length), repeats: map[repeat]time.Time{}}
}

// note takes an event that was decided. It never blocks.
func (k *keeper) note(e *event.Event) {
	if !mustRecord(e) {
		k.observe(e)
		return
	}
	select {
	case k.queue <- e:
	default:
		k.lose(1)
	}
}

func (k *keeper) observe(e *event.Event) {
	if k.dep.Observer != nil {
		k.dep.Observer.Observe(e)
	}
}

// mustRecord reports whether an event is a record: what was or would have been stopped, what policy asks something for, and a messenger
// that no rule allows (law 9).
func mustRecord(e *event.Event) bool {
	v := &e.Verdict
	return v.Action != event.Allow || len(v.Obligations) > 0 || e.Question.App != "" && v.Rule == policy.OtherwiseRule
}

func (k *keeper) lose(n int) {
	k.stats.unrecorded.Add(int64(n))
	k.lost.Add(int64(n))
}

// run records until ctx ends, then what is still queued, for a bounded time. A batch that is being written when ctx ends is written: an
// interrupted one might be on record and counted as lost.
func (k *keeper) run(ctx context.Context) {
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var bound sync.WaitGroup
	bound.Go(func() { cancelAfter(ctx, writing, cancel) })
	defer bound.Wait()
	defer cancel()
	for {
		select {
		case e := <-k.queue:
			k.record(writing, k.gather(e))
		case <-ctx.Done():
			k.drain(writing)
			return
		}
	}
}

// cancelAfter cancels writing when ctx ended drainTime ago.
func cancelAfter(ctx, writing context.Context, cancel context.CancelFunc) {
	select {
	case <-writing.Done():
		return
	case <-ctx.Done():
	}
	select {
	case <-writing.Done():
	case <-time.After(drainTime):
		cancel()
	}
}

func (k *keeper) drain(ctx context.Context) {
	for {
		select {
		case e := <-k.queue:
			k.record(ctx, k.gather(e))
		default:
			return
		}
	}
}

// gather takes what else is waiting, up to one batch, and lets repeats go to the observer.
func (k *keeper) gather(first *event.Event) []*event.Event {
	out := make([]*event.Event, 0, batch)
	for e := first; ; {
		if k.repeated(e) {
			k.stats.repeated.Add(1)
			k.observe(e)
		} else {
			out = append(out, e)
		}
		if len(out) == batch {
			return out
		}
		select {
		case e = <-k.queue:
		default:
			return out
		}
	}
}

// repeated reports whether the same stop went on record within the last minute.
func (k *keeper) repeated(e *event.Event) bool {
	r := repeat{e.Question.Client, e.Question.Name, e.Question.Type, e.Verdict.Rule}
	if at, ok := k.repeats[r]; ok && e.Time.Sub(at) < repeatWindow {
		return true
	}
	if len(k.repeats) >= maxRepeats {
		clear(k.repeats)
	}
	k.repeats[r] = e.Time
	return false
}

func (k *keeper) record(ctx context.Context, events []*event.Event) {
	lost := k.lost.Load()
	if lost > 0 {
		events = append(events, k.gap(lost))
	}
	if len(events) == 0 {
		return
	}
	for _, e := range events {
		e.ID = event.NewID() // here and not where it is decided: answers come first
	}
	if err := k.dep.Recorder.Record(ctx, events...); err != nil {
		if lost > 0 {
			events = events[:len(events)-1]
		}
		k.lose(len(events))
		k.health(ctx, err)
		return
	}
	k.lost.Add(-lost)
	k.stats.recorded.Add(int64(len(events)))
	k.health(ctx, nil)
}

// gap says on record how many stops are not on record.
func (k *keeper) gap(lost int64) *event.Event {
	now := k.dep.Clock.Now()
	return &event.Event{
		Kind: event.Gap, Time: now, Until: now, Received: now, Connector: k.connector, Reason: ReasonOverload,
		Content: event.Content{Explanation: fmt.Sprintf("%d stopped questions are not on record", lost)},
	}
}

func (k *keeper) health(ctx context.Context, err error) {
	if (err != nil) == k.ill {
		return
	}
	k.ill = err != nil
	if k.ill {
		k.dep.Log.ErrorContext(ctx, "stopped questions cannot be recorded", "error", err)
	} else {
		k.dep.Log.InfoContext(ctx, "stopped questions are recorded again")
	}
	if k.dep.Board == nil {
		return
	}
	if k.ill {
		k.dep.Board.Set("resolver record", health.Degraded, "stopped questions cannot be recorded: "+err.Error(), "see the journal's own health item")
		return
	}
	k.dep.Board.Set("resolver record", health.OK, "stopped questions are on record", "")
}
