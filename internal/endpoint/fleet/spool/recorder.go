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
// journal. While the spool is full it refuses and counts, and says so in a gap as soon as there is room.
type Recorder struct {
	spool *Spool
	host  event.Host
	now   func() time.Time

	mu    sync.Mutex
	since time.Time // of the first refusal
	lost  uint64
}

// NewRecorder returns a recorder for the machine.
func NewRecorder(s *Spool, host event.Host, now func() time.Time) *Recorder {
	return &Recorder{spool: s, host: host, now: now}
}

// Record implements event.Recorder.
func (r *Recorder) Record(_ context.Context, events ...*event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost > 0 {
		events = append([]*event.Event{r.gap()}, events...)
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
		r.lost, r.since = 0, time.Time{}
	case errors.Is(err, ErrFull):
		if r.lost == 0 {
			r.since = r.now().UTC()
		} else {
			events = events[1:] // the gap itself is not lost
		}
		r.lost += uint64(len(events))
	}
	return err
}

// gap says that something was lost.
func (r *Recorder) gap() *event.Event {
	now := r.now().UTC()
	return &event.Event{ID: event.NewID(), Kind: event.Gap, Time: r.since, Until: now, Received: now, Connector: "agent", Reason: event.ReasonUnavailable, Host: r.host,
		Content: event.Content{Explanation: fmt.Sprintf("the agent's spool was full: %d events were refused", r.lost)}}
}
