package fleet_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

var sum = strings.Repeat("ab", 32)

// report hands an inventory with one messenger up and waits until the server has it.
func (a *agent) report(programs ...protocol.Program) {
	a.r.t.Helper()
	if err := a.Report(protocol.InventoryItem, protocol.Inventory{Scanned: time.Now().UTC(), Programs: programs}); err != nil {
		a.r.t.Fatal(err)
	}
	eventually(a.r.t, "the inventory is there", func() bool {
		h, err := a.r.Host(a.ID())
		return err == nil && h.Inventory != nil && len(h.Inventory.Programs) == len(programs)
	})
}

func telegram(path string) protocol.Program {
	return protocol.Program{App: "telegram", Version: "5", Path: path, SHA256: sum, Verdict: "block", Rule: "none", Certain: true, Identity: true}
}

// TestApproval: somebody asks at a machine, an administrator allows it, the machine has it, and it ends by itself without the server.
func TestApproval(t *testing.T) {
	begun := time.Now() // a slow machine takes longer to bring it there
	r := newRig(t)
	a, b := r.enrol("laptop-17"), r.enrol("laptop-18")
	a.run()
	b.run()
	a.until(func(b client.Bundle) bool { return b.Host > 0 })
	b.until(func(b client.Bundle) bool { return b.Host > 0 })
	for range 2 {
		if err := a.Report(protocol.RequestItem, protocol.Request{ID: "1", App: "telegram", User: "alice", Reason: "press office"}); err != nil {
			t.Fatal(err)
		}
	}
	var asked []fleet.Asked
	eventually(t, "asked", func() bool { _, asked = r.Approvals(); return len(asked) > 0 && a.spool.Waiting() == 0 })
	if len(asked) != 1 || asked[0].User != "alice" || asked[0].Name != "laptop-17" {
		t.Fatalf("%+v", asked)
	}
	if _, err := r.Grant(t.Context(), "admin", fleet.Approval{Asked: asked[0].ID, Until: time.Now().Add(3*time.Second + 10*time.Since(begun))}); err != nil {
		t.Fatal(err)
	}
	got := a.until(func(b client.Bundle) bool { return len(b.Approvals) == 1 })
	f, err := got.File()
	if err != nil || f.Rules[0].Verdict != "allow" || f.Rules[0].Apps[0] != "telegram" || f.Rules[0].Reason != "press office" {
		t.Errorf("%+v, %v", f.Rules[0], err)
	}
	r.stop() // what ends, ends without the server
	a.until(func(b client.Bundle) bool { return len(b.Approvals) == 0 })
	if len(b.applied) > 0 {
		t.Error("the approval of one machine reached another")
	}
	if acts := r.acts.acts(); !strings.Contains(acts, "approval.request") || !strings.Contains(acts, "approval.grant") {
		t.Errorf("acts: %s", acts)
	}
}

// TestApprovalSubjects: an approval for a person or a group reaches their machines, and no others.
func TestApprovalSubjects(t *testing.T) {
	r := newRig(t)
	a, b := r.enrol("laptop-17"), r.enrol("laptop-18")
	a.run()
	b.run()
	until := time.Now().Add(time.Hour)
	for _, x := range []fleet.Approval{{Subject: fleet.OnePerson, Name: "alice", App: "signal"}, {Subject: fleet.OneGroup, Name: "sales", SHA256: sum}, {Subject: fleet.OneHost, Name: "laptop-18", App: "whatsapp"}} {
		x.Reason, x.Until = "test", until
		if _, err := r.Grant(t.Context(), "admin", x); err != nil {
			t.Fatal(err)
		}
	}
	got := a.until(func(b client.Bundle) bool { return len(b.Approvals) == 2 })
	if got.Approvals[0].App != "signal" || got.Approvals[1].SHA256 != sum {
		t.Errorf("%+v", got.Approvals)
	}
	if got := b.until(func(b client.Bundle) bool { return len(b.Approvals) > 0 }); len(got.Approvals) != 1 || got.Approvals[0].App != "whatsapp" {
		t.Errorf("%+v", got.Approvals)
	}
	inForce, _ := r.Approvals()
	for _, x := range inForce {
		if err := r.Withdraw(t.Context(), "admin", x.ID, "over"); err != nil {
			t.Fatal(err)
		}
	}
	a.until(func(b client.Bundle) bool { return len(b.Approvals) == 0 })
	for name, x := range map[string]fleet.Approval{
		"no end":       {Subject: fleet.OnePerson, Name: "alice", App: "x", Reason: "y"},
		"for ever":     {Subject: fleet.OnePerson, Name: "alice", App: "x", Reason: "y", Until: time.Now().AddDate(5, 0, 0)},
		"no reason":    {Subject: fleet.OnePerson, Name: "alice", App: "x", Until: until},
		"both":         {Subject: fleet.OnePerson, Name: "alice", App: "x", SHA256: sum, Reason: "y", Until: until},
		"nobody":       {Subject: "all", Name: "alice", App: "x", Reason: "y", Until: until},
		"no such host": {Subject: fleet.OneHost, Name: "nobody", App: "x", Reason: "y", Until: until},
	} {
		if _, err := r.Grant(t.Context(), "admin", x); err == nil {
			t.Errorf("%s: granted", name)
		}
	}
}

// TestCampaign: planned, tried on one machine, done on all but the held one, and undone.
func TestCampaign(t *testing.T) {
	r := newRig(t)
	names := []string{"laptop-17", "laptop-18", "laptop-19"}
	var agents []*agent
	did := make(chan string, 20)
	for _, name := range names {
		a := r.enrol(name)
		a.execute = func(o protocol.Order) protocol.Report {
			did <- name + " " + o.Action
			var out protocol.Report
			for _, i := range o.Items {
				id := "q1"
				if o.Action == protocol.RestoreOrder && i.ID != "q1" {
					t.Errorf("restore %+v", i)
				}
				out.Outcomes = append(out.Outcomes, protocol.Outcome{Path: i.Path, SHA256: i.SHA256, Action: "quarantined", ID: id})
			}
			return out
		}
		a.run()
		a.next()
		a.report(telegram("/opt/"+name), protocol.Program{App: "telegram", Path: "/unsure", SHA256: sum, Verdict: "block"})
		agents = append(agents, a)
	}
	r.holds.mu.Lock()
	r.holds.names["laptop-19"] = true
	r.holds.mu.Unlock()
	x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "test"}, []string{"laptop-18"})
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Hosts) != 3 || len(x.Hosts[0].Items) != 1 || x.Hosts[0].Unsure != 1 || len(x.Hosts[0].Left) != 1 || x.Hosts[0].Left[0].Path != "/unsure" || !x.Hosts[2].Held || x.Hosts[0].Canary || !x.Hosts[1].Canary {
		t.Fatalf("%+v", x.Hosts)
	}
	if len(did) > 0 {
		t.Error("a plan did something")
	}
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.Canary, "another plan"); !errors.Is(err, fleet.ErrPlan) {
		t.Error(err)
	}
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.Undoing, ""); !errors.Is(err, fleet.ErrStage) {
		t.Error(err)
	}
	if got, err := r.Advance(t.Context(), "admin", x.ID, fleet.All, x.Digest); !errors.Is(err, fleet.ErrNotTried) || got.Stage != fleet.Planned {
		t.Errorf("all before the canary machines: %v, %v", got.Stage, err)
	}
	advance := func(to fleet.Stage, want ...string) {
		t.Helper()
		if _, err := r.Advance(t.Context(), "admin", x.ID, to, x.Digest); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range want {
			select {
			case s := <-did:
				got = append(got, s)
			case <-time.After(2 * time.Minute):
				t.Fatalf("%s: %v, want %v", to, got, want)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", to, got, want)
		}
	}
	reported := func(n int) {
		t.Helper()
		eventually(t, "reported", func() bool {
			c, err := r.Campaign(x.ID)
			done := 0
			for _, h := range c.Hosts {
				if h.Done != nil {
					done++
				}
			}
			return err == nil && done == n
		})
	}
	advance(fleet.Canary, "laptop-18 remove")
	reported(1)
	advance(fleet.All, "laptop-17 remove")
	reported(2)
	agents[0].stop()
	agents[0].run() // an order is not carried out twice
	advance(fleet.Undoing, "laptop-17 restore", "laptop-18 restore")
	eventually(t, "undone", func() bool {
		c, err := r.Campaign(x.ID)
		return err == nil && c.Hosts[0].Undone != nil && c.Hosts[1].Undone != nil && c.Hosts[2].Done == nil
	})
	if len(did) > 0 {
		t.Errorf("and %s", <-did)
	}
	r.stop()
	r.start() // all of it outlives a restart
	if list := r.Campaigns(); len(list) != 1 || list[0].Hosts[0].Undone == nil || list[0].Hosts[0].Outcome() != "undone: 1 of 1 files" {
		t.Errorf("%+v", list)
	}
	if acts := r.acts.acts(); !strings.Contains(acts, "campaign.plan campaign.canary campaign.all campaign.undoing") {
		t.Errorf("acts: %s", acts)
	}
}

// TestHeldHostRefuses: an agent that was told of a hold removes nothing, whatever it is ordered; nor what is approved on it, nor too late.
func TestHeldHostRefuses(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.execute = func(o protocol.Order) protocol.Report {
		if len(o.Items) > 0 {
			t.Errorf("it carries out %+v", o)
		}
		return protocol.Report{}
	}
	a.run()
	a.next()
	a.report(telegram("/opt/t"))
	x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Grant(t.Context(), "admin", fleet.Approval{Subject: fleet.OneHost, Name: "laptop-17", App: "telegram", Reason: "x", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.AllAtOnce, x.Digest); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reported", func() bool {
		c, err := r.Campaign(x.ID)
		return err == nil && c.Hosts[0].Done != nil && strings.Contains(c.Hosts[0].Done.Outcomes[0].Error, "approved on this machine")
	})
	r.holds.mu.Lock()
	r.holds.names["laptop-17"] = true
	r.holds.mu.Unlock()
	if x, err = r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "again"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.AllAtOnce, x.Digest); err != nil {
		t.Fatal(err)
	}
	if got := a.until(func(b client.Bundle) bool { return b.Held }); len(got.Orders) != 0 {
		t.Errorf("a held host is ordered %+v", got.Orders)
	}
	if _, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "nothing", Action: protocol.RemoveOrder, Reason: "x"}, nil); !errors.Is(err, fleet.ErrNothing) {
		t.Error(err)
	}
	// What nobody has and nobody could have: a mistyped name is no clean fleet.
	if _, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "nosuchapp", Action: protocol.RemoveOrder, Reason: "x"}, nil); err == nil || !strings.Contains(err.Error(), "not in the policy") {
		t.Error(err)
	}
}
