package pipeline

import (
	"context"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

const (
	batch      = 256
	retryAfter = 500 * time.Millisecond
	lastTry    = 5 * time.Second
	quiet      = 300 * time.Millisecond // nothing new for so long at shutdown: nobody is left who could say more
	linger     = 100 * time.Millisecond // nobody waits for an outcome, so that many share one commit
	counting   = time.Minute            // how often counts of what was excluded are recorded
)

// Run records outcomes, spooled events and the counts of what was excluded until ctx ends, and then what is left of them.
func (p *Pipeline) Run(ctx context.Context) error {
	tick := time.NewTicker(counting)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.drain(context.WithoutCancel(ctx))
			p.lastCounts()
			return nil
		case <-tick.C:
			p.recordCounts(ctx)
		case e := <-p.outcomes:
			if len(p.outcomes) < batch {
				select {
				case <-ctx.Done():
				case <-time.After(linger):
				}
			}
			events := gather(e, p.outcomes)
			if !p.keep(ctx, events) {
				p.lost(events)
			}
		case <-p.waiting():
			p.unspool(ctx)
		}
	}
}

// lost tries a last time to record events that were in hand when ctx ended.
func (p *Pipeline) lost(events []*event.Event) {
	ctx, cancel := context.WithTimeout(context.Background(), lastTry)
	defer cancel()
	if !p.keep(ctx, events) {
		p.gone(events)
	}
}

// gone counts and says what could not be recorded before the program ended.
func (p *Pipeline) gone(events []*event.Event) {
	for _, e := range events {
		p.tally.add(e, Excluded, "lost-at-shutdown")
	}
	if len(events) > 0 && p.deps.Log != nil {
		p.deps.Log.Error("events lost at shutdown: they could not be recorded", "count", len(events))
	}
}

// recordCounts makes what was excluded since the last time durable. Acts that could not be recorded are tried again under the same ids, so
// that nobody counts them twice. Only Run calls it.
func (p *Pipeline) recordCounts(ctx context.Context) {
	p.counts = append(p.counts, p.tally.take(p.cfg.Connector)...)
	for len(p.counts) > 0 {
		some := p.counts[:min(len(p.counts), batch)]
		if err := p.deps.Recorder.Record(ctx, some...); err != nil {
			if p.deps.Log != nil {
				p.deps.Log.Warn("counts of what was excluded are not recorded yet", "acts", len(p.counts), "error", err)
			}
			return
		}
		p.counts = p.counts[len(some):]
	}
}

func (p *Pipeline) lastCounts() {
	ctx, cancel := context.WithTimeout(context.Background(), lastTry)
	defer cancel()
	p.recordCounts(ctx)
}

// gather takes what waits, up to a batch: one commit for all.
func gather(first *event.Event, from <-chan *event.Event) []*event.Event {
	events := []*event.Event{first}
	for len(events) < batch {
		select {
		case e := <-from:
			events = append(events, e)
		default:
			return events
		}
	}
	return events
}

// strikes is how often an event may fail after its neighbours of the same moment were recorded, before it is given up as one that never
// can be: a minute.
const strikes = 120

// keep records events, trying until it works or ctx ends. When a batch fails each event is tried alone, so that one that can never be
// recorded does not hold up the rest; it is counted and said.
func (p *Pipeline) keep(ctx context.Context, events []*event.Event) bool {
	struck := 0 // since some of the batch were recorded and the rest were not
	for {
		err := p.deps.Recorder.Record(ctx, events...)
		if err == nil {
			p.kept(events)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if len(events) > 1 {
			left := p.oneByOne(ctx, events)
			if len(left) < len(events) {
				struck = 1
			}
			events = left
		}
		if len(events) == 0 {
			return true
		}
		if struck > 0 {
			if struck++; struck > strikes {
				p.giveUp(events, err)
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(retryAfter):
		}
	}
}

func (p *Pipeline) kept(events []*event.Event) {
	for _, e := range events {
		if e.Kind != event.Act {
			p.tally.stored(e)
		}
	}
}

// oneByOne returns the events that are still to be recorded.
func (p *Pipeline) oneByOne(ctx context.Context, events []*event.Event) []*event.Event {
	var left []*event.Event
	for _, e := range events {
		if p.deps.Recorder.Record(ctx, e) != nil {
			left = append(left, e)
			continue
		}
		p.kept([]*event.Event{e})
	}
	return left
}

func (p *Pipeline) giveUp(events []*event.Event, err error) {
	for _, e := range events {
		p.tally.add(e, Excluded, "unrecordable")
		if p.deps.Log != nil {
			p.deps.Log.Error("an event cannot be recorded", "id", e.ID, "kind", e.Kind, "error", err)
		}
	}
}

// drain records what is left, within a bounded time: sessions that end now still say what became of their messages. What is lost then is
// counted and said; what is spooled waits for the next start.
func (p *Pipeline) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastTry)
	defer cancel()
	if p.deps.Spool != nil { // what Run had in hand
		p.unspool(ctx)
	}
	for ctx.Err() == nil {
		select {
		case <-p.waiting():
			p.unspool(ctx)
		case e := <-p.outcomes:
			if events := gather(e, p.outcomes); !p.keep(ctx, events) {
				p.gone(events)
			}
		case <-time.After(quiet):
			return
		case <-ctx.Done():
		}
	}
	for len(p.outcomes) > 0 {
		p.gone(gather(<-p.outcomes, p.outcomes))
	}
}
