package policy_test

import (
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestWhoOnlyWatchedEnforcedNothing holds that the mode never changes a verdict, and that a flow in a capture is not said to have been stopped.
func TestWhoOnlyWatchedEnforcedNothing(t *testing.T) {
	for _, mode := range []string{"monitor", "enforce"} {
		p := compile(t, "version: 1\nmode: "+mode+"\nrules: [{id: none, apps: ['*'], verdict: block}]\notherwise: {network: allow}\n")
		for source, want := range map[string]bool{event.SourceLive: mode == "enforce", event.SourceCapture: false} {
			e := &event.Event{Kind: event.FlowSeen, Source: source, Content: event.Content{
				Flow: &event.Flow{Proto: "tcp", Client: "10.0.0.1:5000", Server: "192.0.2.1:443", App: "telegram", Confidence: event.Exact}}}
			v := p.Decide(&policy.Input{Event: e, Now: time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC), Final: true})
			if v.Action != event.Block || v.Rule != "none" || v.Enforced != want {
				t.Errorf("%s, source %q: %+v, want enforced %v", mode, source, v, want)
			}
		}
	}
}
