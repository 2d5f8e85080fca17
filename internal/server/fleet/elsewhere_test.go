package fleet_test

import (
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// TestExceptionsHoldElsewhere: what is approved for a person or a group holds for that person's machines with another enforcer, and for no other's.
func TestExceptionsHoldElsewhere(t *testing.T) {
	r := newRig(t)
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	f, err := policy.Parse("policy.yaml", []byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Build(f, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []fleet.Approval{{Subject: fleet.OnePerson, Name: "bob", App: "signal"}, {Subject: fleet.OneGroup, Name: "sales", App: "telegram"}} {
		x.Reason, x.Until = "x", time.Now().Add(time.Hour)
		if _, err := r.Grant(t.Context(), "admin", x); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		person, app string
		want        event.Action
	}{{"bob", "signal", event.Allow}, {"bob", "telegram", event.Block}, {"alice", "telegram", event.Allow}, {"alice", "signal", event.Block}, {"", "signal", event.Block}} {
		host := event.Host{Name: "mac-a", Person: test.person}
		if test.person == "alice" {
			host.Name = "laptop-17" // of the group sales
		}
		p, with, err := r.DecidesBy(set, host)
		if err != nil || with != c {
			t.Fatal(err)
		}
		e := &event.Event{Kind: event.ProgramRun, Host: host, Content: event.Content{Program: &event.Program{App: test.app, Confidence: event.Exact}}}
		if v := p.Decide(&policy.Input{Event: e, Now: time.Now(), Final: true}); v.Action != test.want {
			t.Errorf("%s of %q: %s by %s, want %s", test.app, test.person, v.Action, v.Rule, test.want)
		}
	}
}
