package pipeline

import (
	"context"
	"strconv"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// ActLate is the action of the act that goes with events that were delivered before they were recorded: from when to when, and how many.
const ActLate = "capture.late"

// waiting receives when the spool holds something.
func (p *Pipeline) waiting() <-chan struct{} {
	if p.deps.Spool == nil {
		return nil
	}
	return p.deps.Spool.Waiting()
}

// unspool records what is spooled, in order, each batch in one commit with the act that says so. When ctx ends the rest stays.
func (p *Pipeline) unspool(ctx context.Context) {
	for {
		events, damaged, err := p.deps.Spool.Next(batch)
		if err != nil {
			p.spoolFailed("read the spool", err)
			return
		}
		if len(events) == 0 && damaged == 0 {
			p.state(health.OK, "", "")
			return
		}
		if !p.keep(ctx, append(events, p.late(events, damaged))) {
			return
		}
		for range damaged {
			p.tally.add(&event.Event{Received: p.deps.Clock.Now()}, Excluded, "spool-damaged")
		}
		if err := p.deps.Spool.Done(); err != nil {
			p.spoolFailed("empty the spool", err)
		}
	}
}

func (p *Pipeline) spoolFailed(what string, err error) {
	p.state(health.Degraded, what+": "+err.Error(), "mend the disk of the data directory")
	if p.deps.Log != nil {
		p.deps.Log.Error(what, "connector", p.cfg.Connector, "error", err)
	}
}

// late returns the act that goes with a batch. A batch that comes again, since nobody knew whether it was recorded, has the same act.
func (p *Pipeline) late(events []*event.Event, damaged int) *event.Event {
	id, now := event.NewID(), p.deps.Clock.Now()
	act := &event.ActDetail{Action: ActLate, Object: p.cfg.Connector, Details: []event.Fact{{Name: "count", Value: strconv.Itoa(len(events))}}}
	if len(events) > 0 {
		first, last := events[0], events[len(events)-1]
		id = event.ImportID(nil, ActLate, string(first.ID), string(last.ID))
		act.Details = append(act.Details, event.Fact{Name: "from", Value: first.Received.UTC().Format(time.RFC3339Nano)}, event.Fact{Name: "to", Value: last.Received.UTC().Format(time.RFC3339Nano)})
	}
	if damaged > 0 {
		act.Details = append(act.Details, event.Fact{Name: "damaged", Value: strconv.Itoa(damaged)})
	}
	return &event.Event{ID: id, Kind: event.Act, Phase: ActLate, Time: now, Received: now, Connector: p.cfg.Connector, Content: event.Content{Act: act}}
}
