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
	linger     = 100 * time.Millisecond // nobody waits for an outcome, so that many share one commit
)

// Run records outcomes and spooled events until ctx ends, and then what is left of them.
func (p *Pipeline) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			p.drain(context.WithoutCancel(ctx))
			return nil
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
		case e := <-p.spool:
			events := gather(e, p.spool)
			if !p.keep(ctx, events) {
				p.lost(events)
			}
		}
	}
}

// lost tries a last time to record events that were in hand when ctx ended.
func (p *Pipeline) lost(events []*event.Event) {
	ctx, cancel := context.WithTimeout(context.Background(), lastTry)
	defer cancel()
	if !p.keep(ctx, events) && p.deps.Log != nil {
		p.deps.Log.Error("events lost at shutdown: they could not be recorded", "count", len(events))
	}
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

// keep records events, trying until it works or ctx ends.
func (p *Pipeline) keep(ctx context.Context, events []*event.Event) bool {
	for {
		err := p.deps.Recorder.Record(ctx, events...)
		if err == nil {
			for _, e := range events {
				p.tally.stored(e)
			}
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(retryAfter):
		}
	}
}

// drain records what is left, within a bounded time; what is lost then is counted and said.
func (p *Pipeline) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastTry)
	defer cancel()
	for _, queue := range []chan *event.Event{p.spool, p.outcomes} {
		for len(queue) > 0 {
			events := gather(<-queue, queue)
			if !p.keep(ctx, events) && p.deps.Log != nil {
				p.deps.Log.Error("events lost at shutdown: they could not be recorded", "count", len(events)+len(queue))
				break
			}
		}
	}
}
