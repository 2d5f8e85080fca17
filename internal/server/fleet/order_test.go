package fleet_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// TestGrantSaysWhatIsWrong: an exception that could let nothing run is refused at the door, each with its own words.
func TestGrantSaysWhatIsWrong(t *testing.T) {
	r := newRig(t)
	r.enrol("laptop-17")
	hour := time.Now().Add(time.Hour)
	for want, a := range map[string]fleet.Approval{
		"names no host":                {App: "signal", Reason: "x", Until: hour},
		"names nothing":                {Subject: fleet.OneHost, Name: "laptop-17", Reason: "x", Until: hour},
		"more than one":                {Subject: fleet.OneHost, Name: "laptop-17", App: "signal", Publisher: "CN=x", Reason: "x", Until: hour},
		"64 hexadecimal":               {Subject: fleet.OneHost, Name: "laptop-17", SHA256: "abc", Reason: "x", Until: hour},
		"no reason":                    {Subject: fleet.OneHost, Name: "laptop-17", App: "signal", Until: hour},
		"ended already":                {Subject: fleet.OneHost, Name: "laptop-17", App: "signal", Reason: "x"},
		"a year ahead":                 {Subject: fleet.OneHost, Name: "laptop-17", App: "signal", Reason: "x", Until: hour.AddDate(2, 0, 0)},
		"not in the policy":            {Subject: fleet.OneHost, Name: "laptop-17", App: "nosuchapp", Reason: "x", Until: hour},
		`no "carl"; it has alice, bob`: {Subject: fleet.OnePerson, Name: "carl", App: "signal", Reason: "x", Until: hour},
		"no host of that id or na":     {Subject: fleet.OneHost, Name: "laptop-99", App: "signal", Reason: "x", Until: hour},
	} {
		if _, err := r.Grant(t.Context(), "admin", a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", a, err, want)
		}
	}
	if inForce, _ := r.Approvals(); len(inForce) > 0 || strings.Contains(r.acts.acts(), "approval.grant") {
		t.Errorf("%+v, %s", inForce, r.acts.acts())
	}
}

// TestRulesCheck is of what the policy and the catalog in force know.
func TestRulesCheck(t *testing.T) {
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		policy string
		a      fleet.Approval
		want   string
	}{
		{"version: 1\n", fleet.Approval{Subject: fleet.OneHost, App: "telegram"}, ""},
		{"version: 1\n", fleet.Approval{Subject: fleet.OneHost, App: "telegrm"}, `did you mean "telegram"?`},
		{"version: 1\n", fleet.Approval{Subject: fleet.OneHost, App: "*"}, "is for one messenger"},
		{"version: 1\n", fleet.Approval{Subject: fleet.OneHost, SHA256: strings.Repeat("Z", 64)}, "not a SHA-256"},
		{"version: 1\n", fleet.Approval{Subject: fleet.OneGroup, Name: "desk", App: "telegram"}, "has no groups"},
		{"version: 1\ngroups: {desk: {hosts: [d1]}}\n", fleet.Approval{Subject: fleet.OneGroup, Name: "desk", App: "telegram"}, ""},
		{"version: 1\ngroups: {desk: {hosts: [d1]}}\n", fleet.Approval{Subject: fleet.OneGroup, Name: "dsk", App: "telegram"}, `no group "dsk"; it has desk`},
	} {
		f, err := policy.Parse("p", []byte(c.policy))
		if err != nil {
			t.Fatal(err)
		}
		set, err := rules.Build(f, cat)
		if err != nil {
			t.Fatal(err)
		}
		c.a.Until, c.a.Reason = time.Now().Add(time.Hour), "x"
		err = fleet.Rules{Pair: func() *rollout.Pair { return &rollout.Pair{First: &rollout.Side{Set: set}} }}.Check(c.a)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.a, err, c.want)
		}
	}
}

// TestCanaryIsThere: a campaign that would begin nowhere is not planned.
func TestCanaryIsThere(t *testing.T) {
	r := newRig(t)
	a, b := r.enrol("laptop-17"), r.enrol("laptop-18")
	a.run()
	b.run()
	a.report(telegram("/opt/t"))
	b.report()
	x := fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "test"}
	for name, want := range map[string]string{"nosuch": "no host of that id or name", "laptop-18": "found nothing"} {
		if _, err := r.Plan(t.Context(), "admin", x, []string{"laptop-17", name}); !errors.Is(err, fleet.ErrCanary) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.holds.mu.Lock()
	r.holds.names["laptop-17"] = true
	r.holds.mu.Unlock()
	if _, err := r.Plan(t.Context(), "admin", x, []string{"laptop-17"}); !errors.Is(err, fleet.ErrCanary) {
		t.Error(err)
	}
	if list := r.Campaigns(); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

// TestUndoEnds: an undoing is over once all have answered, and an administrator may end one that a machine never answers; it says which.
func TestUndoEnds(t *testing.T) {
	r := newRig(t)
	var agents []*agent
	for _, name := range []string{"laptop-17", "laptop-18"} {
		a := r.enrol(name)
		a.execute = func(o protocol.Order) protocol.Report {
			return protocol.Report{Outcomes: []protocol.Outcome{{Path: o.Items[0].Path, SHA256: sum, Action: "quarantined", ID: "q-" + name}}}
		}
		a.run()
		a.report(telegram("/opt/" + name))
		agents = append(agents, a)
	}
	x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.QuarantineOrder, Reason: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	to := func(stage fleet.Stage) fleet.Campaign {
		t.Helper()
		got, err := r.Advance(t.Context(), "admin", x.ID, stage, x.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	open := func(want ...string) {
		t.Helper()
		eventually(t, strings.Join(want, " ")+" open", func() bool {
			got, err := r.Campaign(x.ID)
			return err == nil && slices.Equal(got.Open(), want)
		})
	}
	to(fleet.AllAtOnce)
	open()
	agents[1].stop()
	if got := to(fleet.Undoing); got.Stage != fleet.Undoing {
		t.Errorf("stage %s", got.Stage)
	}
	open("laptop-18")
	if got := to(fleet.Stopped); got.Stage != fleet.Ended || !slices.Equal(got.Open(), []string{"laptop-18"}) {
		t.Errorf("stage %s, open %q", got.Stage, got.Open())
	}
	if !strings.Contains(r.acts.acts(), "campaign.ended") {
		t.Error(r.acts.acts())
	}
	agents[1].run() // it has no order to answer
	agents[1].until(func(b client.Bundle) bool { return len(b.Orders) == 0 })
	open("laptop-18")
	to(fleet.Undoing) // it is back: try again
	eventually(t, "all is undone", func() bool { got, err := r.Campaign(x.ID); return err == nil && got.Stage == fleet.Undone })
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.Stopped, ""); !errors.Is(err, fleet.ErrStage) {
		t.Error(err)
	}
}

// TestUndoAgain: what a machine could not bring back is asked for again, of that machine, and nothing else; the stage tells of it until then.
func TestUndoAgain(t *testing.T) {
	r := newRig(t)
	var free atomic.Bool
	restored := make(chan string, 10)
	for _, name := range []string{"laptop-17", "laptop-18"} {
		a := r.enrol(name)
		a.execute = func(o protocol.Order) protocol.Report {
			var out protocol.Report
			for _, i := range o.Items {
				done := protocol.Outcome{Path: i.Path, SHA256: i.SHA256, Action: "quarantined", ID: "q-" + i.Path}
				if o.Action == protocol.RestoreOrder {
					restored <- i.Path
				}
				if o.Action == protocol.RestoreOrder && i.Path == "/opt/taken" && !free.Load() {
					done.Error = "something else is there now"
				}
				out.Outcomes = append(out.Outcomes, done)
			}
			return out
		}
		a.run()
		if name == "laptop-18" {
			a.report(telegram("/opt/laptop-18"))
			continue
		}
		a.report(telegram("/opt/laptop-17"), telegram("/opt/taken"))
	}
	x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.QuarantineOrder, Reason: "test"}, []string{"laptop-17", "laptop-18"})
	if err != nil {
		t.Fatal(err)
	}
	to := func(stage fleet.Stage, settled fleet.Stage, standing string) {
		t.Helper()
		if _, err := r.Advance(t.Context(), "admin", x.ID, stage, x.Digest); err != nil {
			t.Fatal(err)
		}
		eventually(t, standing, func() bool {
			got, err := r.Campaign(x.ID)
			return err == nil && got.Stage == settled && got.Standing() == standing && len(got.Open()) == 0
		})
	}
	told := func(want ...string) {
		t.Helper()
		var got []string
		for len(restored) > 0 {
			got = append(got, <-restored)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("restored %q, want %q", got, want)
		}
	}
	to(fleet.Canary, fleet.Canary, "canary")
	to(fleet.Undoing, fleet.Undone, "undone, 1 failed")
	told("/opt/laptop-17", "/opt/laptop-18", "/opt/taken")
	to(fleet.Undoing, fleet.Undone, "undone, 1 failed") // it is not free yet
	told("/opt/taken")
	r.stop()
	r.start()
	free.Store(true)
	to(fleet.Undoing, fleet.Undone, "undone")
	told("/opt/taken")
	got, err := r.Campaign(x.ID)
	if err != nil || got.Hosts[0].Outcome() != "undone: 2 of 2 files" || got.Hosts[1].Outcome() != "undone: 1 of 1 files" {
		t.Errorf("%+v, %v", got.Hosts, err)
	}
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.Undoing, ""); !errors.Is(err, fleet.ErrStage) {
		t.Errorf("all is back: %v", err)
	}
}
