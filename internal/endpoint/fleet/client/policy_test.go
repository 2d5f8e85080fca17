package client_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

func TestCheckApproval(t *testing.T) {
	apps := []string{"signal", "telegram"}
	until := time.Now().Add(time.Hour)
	for _, c := range []struct {
		a    protocol.Approval
		want string
	}{
		{protocol.Approval{App: "telegram"}, ""},
		{protocol.Approval{App: "telegrm"}, `unknown app "telegrm"; did you mean "telegram"?`},
		{protocol.Approval{App: "zzzzzzzz"}, `unknown app "zzzzzzzz"`},
		{protocol.Approval{SHA256: strings.Repeat("ab", 32)}, ""},
		{protocol.Approval{SHA256: strings.Repeat("Z", 64)}, "is not a SHA-256"},
		{protocol.Approval{Publisher: "CN=Telegram FZ-LLC"}, ""},
	} {
		c.a.ID, c.a.Until, c.a.Reason = "1", until, "test"
		switch err := client.CheckApproval(c.a, apps); {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.a, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %s", c.a, err, c.want)
		}
	}
}

// TestGroupsOfTheMachine: the machine is in the groups of the policy that the server put it in, with and without exceptions.
func TestGroupsOfTheMachine(t *testing.T) {
	b := client.Bundle{Policy: []byte("version: 1\ngroups: {desk: {}, sales: {people: [bob]}}\nrules: [{id: may, apps: [telegram], groups: [desk], verdict: allow}]\n")}
	b.Groups = []string{"desk"}
	for _, approvals := range [][]protocol.Approval{nil, {{ID: "1", App: "signal", Until: time.Now().Add(time.Hour)}}} {
		b.Approvals = approvals
		f, err := b.File()
		if err != nil || !slices.Equal(f.Groups["desk"].Hosts, []string{"*"}) || len(f.Groups["sales"].Hosts) > 0 || len(f.Rules) != 1+len(approvals) {
			t.Errorf("%d exceptions: %v, %+v", len(approvals), err, f)
		}
	}
}
