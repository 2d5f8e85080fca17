package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// TestQueueOfOneHost: a machine that asks without end fills its own share of the queue; each of its questions is on record, those beyond it as
// not queued; another machine's question is queued all the same.
func TestQueueOfOneHost(t *testing.T) {
	r := newRig(t)
	ask := func(a *agent, n int) {
		conn := a.dial()
		a.hello(conn, protocol.BundleFrame)
		items := protocol.Items{First: 1}
		for i := range n {
			body, err := protocol.Encode(protocol.Request{ID: fmt.Sprint(i), App: "telegram", User: "alice", Reason: "please"})
			if err != nil {
				t.Fatal(err)
			}
			items.List = append(items.List, protocol.Item{Kind: protocol.RequestItem, Body: body})
		}
		if _, err := conn.Write(protocol.Frame(protocol.ItemsFrame, items.Append(nil))); err != nil {
			t.Fatal(err)
		}
		if got, err := protocol.ParseAck(await(t, conn, protocol.AckFrame)); err != nil || got != uint64(n) {
			t.Fatal(got, err)
		}
	}
	ask(r.enrol("laptop-17"), 25)
	ask(r.enrol("laptop-18"), 1)
	_, asked := r.Approvals()
	each := map[string]int{}
	for _, q := range asked {
		each[q.Name]++
	}
	if each["laptop-17"] != 20 || each["laptop-18"] != 1 {
		t.Errorf("queued: %v", each)
	}
	outcomes := map[string]int{}
	for _, e := range r.acts.list() {
		if e.Phase == "approval.request" {
			outcomes[e.Act.Details[2].Value]++
		}
	}
	if outcomes["waiting"] != 21 || outcomes["not queued: too many are waiting"] != 5 {
		t.Errorf("on record: %v", outcomes)
	}
	if err := r.Withdraw(t.Context(), "admin", asked[0].ID, "no"); err != nil {
		t.Fatal(err)
	}
	if err := r.Withdraw(t.Context(), "admin", asked[0].ID, "no"); err == nil {
		t.Error("a request is refused twice")
	}
	if _, err := r.Grant(t.Context(), "admin", fleet.Approval{Asked: asked[0].ID, Until: time.Now().Add(time.Hour)}); err == nil {
		t.Error("a request that was refused is granted")
	}
	if _, left := r.Approvals(); len(left) != len(asked)-1 {
		t.Errorf("%d wait, of %d", len(left), len(asked))
	}
}
