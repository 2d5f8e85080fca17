package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// What became of an event that was seen (law 3).
const (
	Stored      = "stored"
	Excluded    = "excluded"
	Quarantined = "quarantined"
)

// Count is how many events of a room on a day had one fate. Seen is their sum over all fates.
type Count struct {
	Connector string `json:"connector"`
	Room      string `json:"room"` // "" for direct messages, and for rooms beyond the bound
	Day       string `json:"day"`  // UTC
	Fate      string `json:"fate"`
	Reason    string `json:"reason"` // of what was not simply stored
	N         uint64 `json:"n"`
}

type slot struct{ connector, room, day, fate, reason string }

// tally counts. Rooms beyond the bound are counted together, so that nobody can fill memory by naming rooms.
type tally struct {
	mu      sync.Mutex
	counts  map[slot]uint64
	unsaved map[slot]uint64 // excluded, and not yet handed to the record
}

const (
	maxCounts = 50_000
	maxRoom   = 4 << 10 // longer names have no id
)

func (t *tally) stored(e *event.Event) {
	if e.Verdict.Action == event.Quarantine {
		t.add(e, Quarantined, cmp.Or(e.Reason, e.Verdict.Rule))
		return
	}
	t.add(e, Stored, e.Reason)
}

func (t *tally) add(e *event.Event, fate, reason string) {
	k := slot{e.Connector, e.Room.Name, e.Received.UTC().Format(time.DateOnly), fate, reason}
	if len(k.room) > maxRoom {
		k.room = ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts, t.unsaved = map[slot]uint64{}, map[slot]uint64{}
	}
	count(t.counts, k)
	if fate == Excluded {
		count(t.unsaved, k)
	}
}

func count(m map[slot]uint64, k slot) {
	if _, known := m[k]; !known && len(m) >= maxCounts {
		k.room = ""
	}
	m[k]++
}

// take returns what was excluded since the last time, as acts to be recorded: one for each connector and room.
func (t *tally) take(connector string) []*event.Event {
	t.mu.Lock()
	taken := t.unsaved
	t.unsaved = map[slot]uint64{}
	t.mu.Unlock()
	type place struct{ connector, room string }
	places := map[place][]event.Excluded{}
	for k, n := range taken {
		at := place{cmp.Or(k.connector, connector), k.room}
		places[at] = append(places[at], event.Excluded{Day: k.day, Reason: k.reason, N: n})
	}
	var acts []*event.Event
	for at, counts := range places {
		slices.SortFunc(counts, func(a, b event.Excluded) int {
			return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Reason, b.Reason))
		})
		acts = append(acts, event.NewCaptureCount(at.connector, at.room, counts...))
	}
	return acts
}

// Counts returns what was counted since the start, in order.
func (p *Pipeline) Counts() []Count {
	p.tally.mu.Lock()
	defer p.tally.mu.Unlock()
	out := make([]Count, 0, len(p.tally.counts))
	for k, n := range p.tally.counts {
		if k.connector == "" {
			k.connector = p.cfg.Connector
		}
		out = append(out, Count{k.connector, k.room, k.day, k.fate, k.reason, n})
	}
	slices.SortFunc(out, func(a, b Count) int {
		return strings.Compare(strings.Join([]string{a.Day, a.Room, a.Fate, a.Reason}, "\x00"), strings.Join([]string{b.Day, b.Room, b.Fate, b.Reason}, "\x00"))
	})
	return out
}
