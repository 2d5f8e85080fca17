package policy_test

import (
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestNextChange walks through two weeks, the end of summer time among them: between two changes no verdict changes.
func TestNextChange(t *testing.T) {
	p := compile(t, `version: 1
timezone: Europe/Zurich
rules:
  - {id: until, names: [a.org], until: 2026-10-28, verdict: allow}
  - {id: night, names: [a.org], hours: "Fri 22:00-06:00", verdict: allow}
  - {id: day, names: [a.org], hours: ["Mon-Thu 07:00-20:00", "Sun 01:00-03:30"], verdict: allow}
`)
	flow := &event.Event{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Name: "a.org"}}}
	decide := func(at time.Time) string {
		v := p.Decide(&policy.Input{Event: flow, Now: at, Final: true})
		return v.Rule + " " + string(v.Action) + " " + time.Duration(len(v.Also)).String()
	}
	at := time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC)
	next := p.NextChange(at)
	last := decide(at)
	changes := 0
	for range 14 * 24 * 4 {
		at = at.Add(15 * time.Minute)
		now := decide(at)
		if now != last && at.Before(next) {
			t.Fatalf("%v: %s became %s before the next change at %v", at, last, now, next)
		}
		if !at.Before(next) {
			next = p.NextChange(at)
			changes++
		}
		last = now
	}
	if changes < 20 {
		t.Errorf("%d changes", changes)
	}
	if got := compile(t, "version: 1").NextChange(at); !got.IsZero() {
		t.Errorf("a policy without times changes at %v", got)
	}
}
