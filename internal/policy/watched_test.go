package policy_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestWatched asks for the mode of what forbids an event, also where the event's own verdict is never enforced, and leaves the event as it is.
func TestWatched(t *testing.T) {
	for mode, want := range map[string]bool{"enforce": false, "monitor": true} {
		p := compile(t, "version: 1\nmode: "+mode+"\nrules:\n  - {id: none, apps: [telegram], verdict: block}\notherwise: {programs: allow}\n")
		e := &event.Event{Kind: event.ProgramRun, Source: event.SourceCapture, Content: event.Content{Program: &event.Program{App: "telegram", Confidence: event.Exact}}}
		if got := p.Decide(&policy.Input{Event: e, Final: true}); !got.Action.Stops() || got.Enforced {
			t.Fatalf("%s: %+v", mode, got)
		}
		if got := policy.Watched(p, e); got != want || e.Source != event.SourceCapture {
			t.Errorf("%s: watched %v, source %s", mode, got, e.Source)
		}
	}
}
