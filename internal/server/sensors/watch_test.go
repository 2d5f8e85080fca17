package sensors

import (
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// TestWhatASensorDoesNotSee: an interface that goes down, and packets that are dropped, are a health item and a gap on record.
func TestWhatASensorDoesNotSee(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	var state health.State
	var said string
	var gaps []*event.Event
	w := &watch{
		connector: "sensor-tap0", now: func() time.Time { return now },
		set: func(s health.State, detail, _ string) { state, said = s, detail },
		gap: func(e *event.Event) { gaps = append(gaps, e) },
	}
	for _, c := range []struct {
		name  string
		stats flow.Stats
		state health.State
		said  string
		gaps  int
		since time.Duration // of the last gap
	}{
		{"it begins", flow.Stats{}, health.OK, "listening", 0, 0},
		{"packets come", flow.Stats{Packets: 10}, health.OK, "listening", 0, 0},
		{"some are dropped", flow.Stats{Packets: 110, Dropped: 7}, health.Degraded, "7 of 100 packets", 1, 10 * time.Second},
		{"none comes", flow.Stats{Packets: 110, Dropped: 7}, health.Degraded, "7 of 100 packets", 1, 10 * time.Second},
		{"all are read", flow.Stats{Packets: 200, Dropped: 7}, health.OK, "listening", 1, 10 * time.Second},
		{"it goes down", flow.Stats{Packets: 200, Dropped: 7, Gaps: 1, Down: true}, health.Failed, "down or away", 1, 10 * time.Second},
		{"it is back", flow.Stats{Packets: 200, Dropped: 7, Gaps: 1, Missed: 4 * time.Second}, health.OK, "listening", 2, 4 * time.Second},
	} {
		now = now.Add(10 * time.Second)
		w.see(c.stats)
		if state != c.state || !strings.Contains(said, c.said) || len(gaps) != c.gaps {
			t.Errorf("%s: %s, %q, %d gaps", c.name, state, said, len(gaps))
			continue
		}
		if c.gaps > 0 {
			g := gaps[c.gaps-1]
			if g.Kind != event.Gap || g.Connector != "sensor-tap0" || g.Reason == "" || g.Explanation == "" || g.Until.Sub(g.Time) != c.since {
				t.Errorf("%s: %+v", c.name, g)
			}
		}
	}
}
