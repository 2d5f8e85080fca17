package pipeline

import (
	"strconv"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

func TestCountsAddUp(t *testing.T) {
	day := time.Date(2026, 11, 25, 23, 59, 59, 0, time.UTC)
	p := New(Config{Connector: "office"}, Deps{})
	in := func(room string, at time.Time, v event.Verdict, reason string) *event.Event {
		return &event.Event{Connector: "office", Room: event.Room{Name: room}, Received: at, Verdict: v, Reason: reason}
	}
	p.tally.stored(in("desk", day, event.Verdict{Action: event.Allow}, ""))
	p.tally.stored(in("desk", day, event.Verdict{Action: event.Block}, ""))
	p.tally.stored(in("desk", day.Add(time.Second), event.Verdict{Action: event.Allow}, ""))
	p.tally.stored(in("", day, event.Verdict{Action: event.Quarantine, Rule: "r"}, ""))
	p.tally.stored(in("", day, event.Verdict{Action: event.Quarantine, Rule: "r"}, event.ReasonOversize))
	p.tally.add(in("desk", day, event.Verdict{}, ""), Excluded, event.ReasonDuplicate)
	want := []Count{
		{"office", "", "2026-11-25", Quarantined, event.ReasonOversize, 1},
		{"office", "", "2026-11-25", Quarantined, "r", 1},
		{"office", "desk", "2026-11-25", Excluded, event.ReasonDuplicate, 1},
		{"office", "desk", "2026-11-25", Stored, "", 2},
		{"office", "desk", "2026-11-26", Stored, "", 1},
	}
	got := p.Counts()
	if len(got) != len(want) {
		t.Fatalf("counts %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("count %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestNamingRoomsDoesNotFillMemory(t *testing.T) {
	p := New(Config{Connector: "office"}, Deps{})
	const n = maxCounts + 1000
	for i := range n {
		p.tally.stored(&event.Event{Connector: "office", Room: event.Room{Name: strconv.Itoa(i)}})
	}
	var sum uint64
	for _, c := range p.Counts() {
		sum += c.N
	}
	if len(p.Counts()) > maxCounts+1 || sum != n {
		t.Errorf("%d counts, %d events", len(p.Counts()), sum)
	}
}
