package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// profileKnown is what the quickstart policies refer to.
func profileKnown() policy.Known {
	return policy.Known{Hits: []string{"payment-card", "change-of-venue", "private-key", "access-key", "disguised-file", "executable-file"}}
}

// TestProfiles compile, keep records as long as they say, and speak of the organisation's own domains.
func TestProfiles(t *testing.T) {
	for name, days := range map[string]map[event.Kind]int{
		"plain":            {event.Message: 2190, event.FlowSeen: 2190},
		"us-broker-dealer": {event.Message: 2192, event.FlowSeen: 2192},
		"uk-eu":            {event.Message: 1827, event.Call: 1827, event.FlowSeen: 365},
		"works-council":    {event.Message: 180, event.FlowSeen: 180},
	} {
		if !slices.Contains(policy.Profiles(), name) {
			t.Errorf("%s is not listed", name)
		}
		text, err := policy.Quickstart(name, "firm.example", "firm.test")
		if err != nil {
			t.Fatal(err)
		}
		f, err := policy.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.Compile(f, profileKnown())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for kind, want := range days {
			if class, ok := p.RetentionOf(&event.Event{Kind: kind}); !ok || class.Days != want {
				t.Errorf("%s: %s is kept %d days, want %d", name, kind, class.Days, want)
			}
		}
		if strings.Contains(string(text), "example.org") || p.LeavesOrg(message("a@firm.example", "b@firm.test")) || !p.LeavesOrg(message("a@firm.example", "b@example.org")) {
			t.Errorf("%s does not speak of the organisation's domains", name)
		}
	}
	if _, err := policy.Quickstart("space"); err == nil || !strings.Contains(err.Error(), `unknown profile "space": one of plain, us-broker-dealer`) {
		t.Errorf("unknown profile: %v", err)
	}
}

// TestRetentionSelection: kinds, rooms and groups must all hold, and of what holds the longest wins, wherever it stands.
func TestRetentionSelection(t *testing.T) {
	p := compile(t, `version: 1
groups: {desk: {people: [ann]}, branch: {networks: [10.1.0.0/16]}}
retention:
  - {id: long, days: 900, kinds: [message], rooms: ["deal-*"], groups: [desk]}
  - {id: rooms, days: 400, rooms: ["deal-*"]}
  - {id: calls, days: 800, kinds: [call]}
  - {id: branch, days: 700, groups: [branch]}
  - {id: short, days: 30}
`)
	for _, test := range []struct {
		kind                  event.Kind
		person, room, address string
		want                  string
	}{
		{event.Message, "bob", "", "", "short"},
		{event.Message, "ann", "", "", "short"},
		{event.Message, "bob", "deal-7", "", "rooms"},
		{event.Message, "ann", "deal-7", "", "long"},
		{event.Edit, "ann", "deal-7", "", "rooms"},
		{event.Call, "ann", "deal-7", "", "calls"},
		{event.FlowSeen, "", "", "10.1.2.3", "branch"},
		{event.FlowSeen, "", "", "10.2.2.3", "short"},
		{event.Act, "", "", "", "short"},
	} {
		e := &event.Event{Kind: test.kind, From: event.Party{Person: test.person}, Room: event.Room{Name: test.room}, Host: event.Host{Address: test.address}}
		if class, ok := p.RetentionOf(e); !ok || class.ID != test.want {
			t.Errorf("%+v: %s", test, class.ID)
		}
	}
}
