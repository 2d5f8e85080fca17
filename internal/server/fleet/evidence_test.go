package fleet_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// TestCampaignNeedsIdentity: whether it removes or quarantines, a campaign leaves what nothing identifies for itself and says so, until somebody who
// looked at the file names it by its content; that is on record.
func TestCampaignNeedsIdentity(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	a.next()
	hash := func(digit string) string { return strings.Repeat(digit, 64) }
	program := func(path, digit string, certain, identity bool) protocol.Program {
		return protocol.Program{App: "telegram", Path: path, SHA256: hash(digit), Verdict: "block", Rule: "none", Certain: certain, Identity: identity}
	}
	a.report(program("/sure", "1", true, true), program("/words", "2", true, false), program("/guess", "3", false, false),
		program("/both", "4", true, false), program("/both", "4", true, true), program("/liar", "5", false, true))
	plan := func(action string, named ...string) string {
		t.Helper()
		x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: action, Reason: "test", SHA256: named}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, i := range x.Hosts[0].Items {
			out = append(out, fmt.Sprintf("%s %v %v", i.Path, i.Identity, i.Named))
		}
		for _, l := range x.Hosts[0].Left {
			out = append(out, l.Path+" "+l.Why)
		}
		return fmt.Sprintf("%s; %d unsure", strings.Join(out, ", "), x.Hosts[0].Unsure)
	}
	left := "/words " + fleet.BelowIdentity + ", /guess " + fleet.NotSure + ", /liar " + fleet.NotSure + "; 2 unsure"
	for _, action := range []string{protocol.RemoveOrder, protocol.QuarantineOrder} {
		if got, want := plan(action), "/sure true false, /both true false, "+left; got != want {
			t.Errorf("%s: %s\nwant %s", action, got, want)
		}
	}
	if got, want := plan(protocol.RemoveOrder, hash("2"), strings.ToUpper(hash("3")), hash("2")), "/sure true false, /words false true, /guess false true, /both true false, /liar "+fleet.NotSure+"; 1 unsure"; got != want {
		t.Errorf("named: %s\nwant %s", got, want)
	}
	if acts := fmt.Sprint(r.acts.list()[len(r.acts.list())-1].Act.Details); !strings.Contains(acts, "{named "+hash("2")+"} {named "+hash("3")+"}") {
		t.Errorf("on record: %s", acts)
	}
	for _, bad := range [][]string{{"x"}, {hash("g")}, {hash("1")[:62]}, strings.Fields(strings.Repeat(hash("1")+" ", 101))} {
		if _, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "test", SHA256: bad}, nil); err == nil || errors.Is(err, fleet.ErrNothing) {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
}

// TestLongReport: what became of a thousand files with the longest paths reaches the server, which is too much for one item of the spool.
func TestLongReport(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.execute = func(o protocol.Order) protocol.Report {
		var out protocol.Report
		for i := range protocol.MaxOutcomes {
			out.Outcomes = append(out.Outcomes, protocol.Outcome{Path: fmt.Sprintf("/%d/%s", i, strings.Repeat("x", 1010)), SHA256: sum, Action: "none", Error: strings.Repeat("y", 1000)})
		}
		return out
	}
	a.run()
	a.next()
	a.report(telegram("/opt/t"))
	x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.AllAtOnce, x.Digest); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reported", func() bool {
		c, err := r.Campaign(x.ID)
		return err == nil && c.Hosts[0].Done != nil && a.spool.Waiting() == 0
	})
	c, err := r.Campaign(x.ID)
	if h := c.Hosts[0]; err != nil || len(h.Done.Outcomes) != protocol.MaxOutcomes || h.Part != nil || !strings.HasPrefix(h.Done.Outcomes[999].Path, "/999/") || h.Outcome() != "done: 0 of 1000 files" {
		t.Errorf("%d outcomes, %s, %v", len(h.Done.Outcomes), h.Outcome(), err)
	}
	parts, err := c.Hosts[0].Done.Parts()
	if err != nil || len(parts) < 2 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	if err := a.spool.Add(parts[len(parts)-1]); err != nil { // as after a crash
		t.Fatal(err)
	}
	eventually(t, "reported once more", func() bool { return a.spool.Waiting() == 0 })
	if c, err = r.Campaign(x.ID); err != nil || len(c.Hosts[0].Done.Outcomes) != protocol.MaxOutcomes || c.Hosts[0].Part != nil {
		t.Errorf("once more: %d outcomes, %v", len(c.Hosts[0].Done.Outcomes), err)
	}
}

// TestLongPathsAreOrderedInParts: an order never takes more than the machine reads at a time; the other files stay, and the plan says so.
func TestLongPathsAreOrderedInParts(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	a.next()
	for folder := range 4 {
		inv := protocol.Inventory{Scanned: time.Now().UTC(), Paths: []string{fmt.Sprintf("/%d", folder)}}
		for i := range 35 {
			p := telegram(fmt.Sprintf("/%d/%d/%s", folder, i, strings.Repeat("<", 800)))
			p.Version = ""
			inv.Programs = append(inv.Programs, p)
		}
		if err := a.Report(protocol.InventoryItem, inv); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the inventory is there", func() bool {
		h, err := r.Host(a.ID())
		return err == nil && h.Inventory != nil && len(h.Inventory.Programs) == 140
	})
	x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := x.Hosts[0]
	if len(h.Items)+len(h.Left) != 140 || len(h.Items) < 80 || len(h.Left) == 0 || h.Left[0].Why != fleet.Later {
		t.Errorf("%d files go, %d stay", len(h.Items), len(h.Left))
	}
	if _, err := r.Advance(t.Context(), "admin", x.ID, fleet.AllAtOnce, x.Digest); err != nil {
		t.Fatal(err)
	}
	if got := a.until(func(b client.Bundle) bool { return len(b.Orders) > 0 }).Orders; len(got[0].Items) != len(h.Items) {
		t.Errorf("%d of %d files are ordered", len(got[0].Items), len(h.Items))
	}
}
