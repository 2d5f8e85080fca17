package sensors

import (
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/network/dns"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// watch tells what a sensor does not see: while its interface is down or away, and where packets came faster than they were read.
// Each is a health item and, once it is over, a gap on record (law 3).
type watch struct {
	connector string
	now       func() time.Time
	set       func(state health.State, detail, advice string)
	gap       func(e *event.Event)

	last    flow.Stats
	counted time.Time
}

// see compares with what was counted before.
func (w *watch) see(s flow.Stats) {
	now, last := w.now(), w.last
	dropped := s.Dropped - last.Dropped
	switch {
	case s.Down:
		w.set(health.Failed, "nothing is seen: the interface is down or away", "It is listened to again as soon as it is up.")
	case dropped > 0:
		detail := fmt.Sprintf("%d of %d packets were dropped: they came faster than they could be read", dropped, s.Packets-last.Packets)
		w.set(health.Degraded, detail, "Mirror less, or give this machine more processors.")
		w.gap(w.event(w.counted, now, dns.ReasonOverload, detail))
	case s.Packets != last.Packets || last.Down || w.counted.IsZero():
		w.set(health.OK, "listening", "")
	}
	if last.Down && !s.Down {
		w.gap(w.event(now.Add(last.Missed-s.Missed), now, event.ReasonUnavailable, "the interface was down or away"))
	}
	w.last, w.counted = s, now
}

func (w *watch) event(from, until time.Time, reason, words string) *event.Event {
	if from.IsZero() {
		from = until
	}
	return &event.Event{
		Kind: event.Gap, Time: from, Until: until, Received: until, Connector: w.connector, Reason: reason,
		Content: event.Content{Explanation: words},
	}
}
