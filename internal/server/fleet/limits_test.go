package fleet_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// campaigns plans and starts so many for all machines.
func (r *rig) campaigns(n int) {
	r.t.Helper()
	for range n {
		x, err := r.Plan(r.t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.QuarantineOrder, Reason: "test"}, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := r.Advance(r.t.Context(), "admin", x.ID, fleet.AllAtOnce, x.Digest); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestOrdersComeInTurn: a machine that was away while many campaigns were started is ordered so much at a time, the rest once it has reported, and
// all of it in the end, each once.
func TestOrdersComeInTurn(t *testing.T) {
	for name, c := range map[string]struct {
		campaigns, files int
		first            []int // files of each order that comes first
	}{
		"many orders":                   {campaigns: 13, files: 1, first: slices.Repeat([]int{1}, 10)},
		"many files":                    {campaigns: 3, files: 450, first: []int{450, 450}},
		"as many files as there may be": {campaigns: 2, files: 1000, first: []int{1000}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a := r.enrol("laptop-17")
			carried := make(chan string, 100)
			gate := make(chan struct{})
			a.execute = func(o protocol.Order) protocol.Report {
				<-gate
				carried <- o.ID
				return protocol.Report{Outcomes: []protocol.Outcome{{Path: o.Items[0].Path, Action: "none"}}}
			}
			a.run()
			a.next()
			var programs []protocol.Program
			for i := range c.files {
				p := telegram(fmt.Sprintf("/o/%d", i))
				p.Version = "" // so that all of them go into one item of the spool
				p.SHA256 = fmt.Sprintf("%064x", i)
				programs = append(programs, p)
			}
			a.report(programs...)
			a.stop()
			r.campaigns(c.campaigns)
			for len(a.applied) > 0 {
				<-a.applied
			}
			a.run()
			var first []int
			for _, o := range a.until(func(b client.Bundle) bool { return len(b.Orders) > 0 }).Orders {
				first = append(first, len(o.Items))
			}
			if !slices.Equal(first, c.first) {
				t.Errorf("at first %v files are ordered, want %v", first, c.first)
			}
			close(gate)
			eventually(t, "all have been reported", func() bool {
				for _, x := range r.Campaigns() {
					if x.Hosts[0].Done == nil {
						return false
					}
				}
				return true
			})
			seen := map[string]int{}
			for len(carried) > 0 {
				seen[<-carried]++
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s was carried out %d times", id, n)
				}
			}
			if len(seen) != c.campaigns {
				t.Errorf("%d orders were carried out, of %d campaigns", len(seen), c.campaigns)
			}
		})
	}
}
