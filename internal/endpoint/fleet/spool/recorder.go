package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Recorder makes events durable in a spool. It implements event.Recorder: what it acknowledges survives power loss and reaches the server's
// journal. While the spool is full it refuses and counts each event once, and says in a gap, as soon as there is room, how many are missing.
type Recorder struct {
	spool *Spool
	host  event.Host
	now   func() time.Time

	mu      sync.Mutex
	since   time.Time             // of the first refusal
	refused map[event.ID]struct{} // what was refused and has not been recorded since: whoever keeps an event tries it again
	more    int                   // refusals beyond maxRefused
}

// maxRefused bounds the events that are remembered as refused. Those beyond it count each time that they are tried.
const maxRefused = 4096

// NewRecorder returns a recorder for the machine.
func NewRecorder(s *Spool, host event.Host, now func() time.Time) *Recorder {
	return &Recorder{spool: s, host: host, now: now, refused: map[event.ID]struct{}{}}
}

// Record implements event.Recorder.
func (r *Recorder) Record(_ context.Context, events ...*event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	given := events
	if n := r.lost(events); n > 0 {
		events = append([]*event.Event{r.gap(n)}, events...)
	}
	items := make([]protocol.Item, 0, len(events))
	for _, e := range events {
		if e.ID == "" {
			e.ID = event.NewID()
		}
		if e.Received.IsZero() {
			e.Received = r.now().UTC()
		}
		if e.Time.IsZero() {
			e.Time = e.Received
		}
		if e.Host.Name == "" {
			e.Host = r.host
		}
		body, err := protocol.EncodeEvent(e)
		if err != nil {
			return err
		}
		items = append(items, protocol.Item{Kind: protocol.EventItem, Body: body})
	}
	err := r.spool.Add(items...)
	switch {
	case err == nil:
		clear(r.refused)
		r.more, r.since = 0, time.Time{}
	case errors.Is(err, ErrFull):
		r.refuse(given)
	}
	return err
}

// lost returns how many events were refused and are not among these, which are tried now.
func (r *Recorder) lost(events []*event.Event) int {
	n := len(r.refused) + r.more
	for _, e := range events {
		if _, again := r.refused[e.ID]; again {
			n--
		}
	}
	return n
}

// refuse remembers what was refused, each event once.
func (r *Recorder) refuse(events []*event.Event) {
	if r.since.IsZero() {
		r.since = r.now().UTC()
	}
	for _, e := range events {
		if _, known := r.refused[e.ID]; known {
			continue
		}
		if len(r.refused) == maxRefused {
			r.more++
			continue
		}
		r.refused[e.ID] = struct{}{}
	}
}

// gap says that something was lost.
func (r *Recorder) gap(n int) *event.Event {
	now := r.now().UTC()
	return &event.Event{ID: event.NewID(), Kind: event.Gap, Time: r.since, Until: now, Received: now, Connector: "agent", Reason: event.ReasonUnavailable, Host: r.host,
		Content: event.Content{Explanation: fmt.Sprintf("the agent's spool was full: %d events were refused and have not been recorded since", n)}}
}
