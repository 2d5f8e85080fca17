package policy

import "github.com/chaperone-im/chaperone/internal/event"

// Watched reports whether the mode of what forbids an event is monitor. The event's own verdict does not say where what looked at it stops nothing by
// itself, as a scan or the inspection of a capture.
func Watched(d Decider, e *event.Event) bool {
	live := *e
	live.Source = event.SourceLive
	return !d.Decide(&Input{Event: &live, Now: e.Received, Final: true}).Enforced
}
