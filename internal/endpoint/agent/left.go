package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/inflight"
	"github.com/chaperone-im/chaperone/internal/event"
)

const (
	lateEvery = 10 * time.Second
	longPath  = 1000 // of a path, where the whole event has no room
)

// tickets are the places of events that are kept and not yet handed to the spool.
type tickets struct {
	mu   sync.Mutex
	kept map[event.ID]inflight.Ticket
}

func newTickets() tickets { return tickets{kept: map[event.ID]inflight.Ticket{}} }

// keep copies an event into the memory, when there is one.
func (t *tickets) keep(m *inflight.Memory, e *event.Event) {
	var ticket inflight.Ticket
	if m != nil {
		if text, err := brief(e); err == nil {
			ticket = m.Put(text)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept[e.ID] = ticket
}

// take returns the place of an event, and whether it is to be reported at all.
func (t *tickets) take(id event.ID) (inflight.Ticket, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ticket, ok := t.kept[id]
	delete(t.kept, id)
	return ticket, ok
}

// brief encodes an event so that it has room: in full, or without evidence and with a part of its path.
func brief(e *event.Event) ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil || len(text) <= inflight.Largest {
		return text, err
	}
	short, program := *e, *e.Program
	if program.Path = strings.ToValidUTF8(program.Path[:min(len(program.Path), longPath)], ""); len(program.Path) < len(e.Program.Path) {
		program.Path += "…"
	}
	short.Program, short.Evidence, short.NotChecked = &program, nil, nil
	return json.Marshal(&short)
}

// remains is what an earlier worker left.
type remains struct {
	events     []inflight.Left
	lost, late uint64
}

func (a *Agent) left() remains {
	if a.o.Memory == nil {
		return remains{}
	}
	var r remains
	r.events, r.lost, r.late = a.o.Memory.Left()
	return r
}

// reportLeft spools what an earlier worker did not come to spool. What that worker did spool in the last moment comes again, with the same id.
// Then it reports, every now and then, what the holder refused by itself.
func (a *Agent) reportLeft(ctx context.Context, r remains) error {
	var events []*event.Event
	for _, l := range r.events {
		e := &event.Event{}
		if err := json.Unmarshal(l.Event, e); err != nil || e.Kind != event.ProgramRun || e.Program == nil {
			r.lost++
			continue
		}
		events = append(events, e)
	}
	if r.lost > 0 {
		events = append(events, a.gap(fmt.Sprintf("at most %d refusals were lost with a worker that was killed", r.lost)))
	}
	if r.late > 0 {
		events = append(events, a.gap(late(r.late)))
	}
	report := func(ctx context.Context) error {
		if len(events) > 0 {
			if err := a.spool.Record(ctx, events...); err != nil {
				return err // tried again; the memory keeps refusals for the next worker
			}
		}
		for _, l := range r.events {
			a.o.Memory.Done(l.Ticket)
		}
		events, r.events = nil, nil
		return nil
	}
	if err := report(ctx); err != nil {
		a.log.Warn("what an earlier worker left cannot be spooled", "error", err.Error())
	}
	return every(ctx, lateEvery, a.log, "what an earlier worker left, and late answers", func(ctx context.Context) error {
		if err := report(ctx); err != nil {
			return err
		}
		if n := a.o.Memory.TakeLate(); n > 0 {
			a.spool.Put(a.gap(late(n)))
		}
		return nil
	})
}

func late(n uint64) string {
	return fmt.Sprintf("%d starts were refused since no worker answered in time", n)
}

func (a *Agent) gap(words string) *event.Event {
	now := time.Now()
	return &event.Event{ID: event.NewID(), Kind: event.Gap, Time: now, Until: now, Received: now, Connector: "agent", Host: a.o.Host,
		Content: event.Content{Explanation: words}}
}
