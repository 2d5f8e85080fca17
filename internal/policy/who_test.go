package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestGroups: who belongs to a group, by the policy, by the directory, by network and by machine.
func TestGroups(t *testing.T) {
	checkMatching(t, `groups:
  sales: {people: [alice, "*@sales.example.org"]}
  branch: {networks: [10.1.0.0/16, "2001:db8:1::/48", 192.0.2.7]}
  kiosks: {hosts: ["kiosk-*", lobby]}
  mixed: {people: [carol], networks: [10.9.0.0/16], hosts: [h9]}
`, []matching{
		{"when: 'true', groups: [sales]", "message: {text: x, from: alice}", true},
		{"when: 'true', groups: [sales]", "message: {text: x, from: ALICE}", true},
		{"when: 'true', groups: [sales]", "message: {text: x, from: bob@sales.example.org/phone}", true},
		{"when: 'true', groups: [sales]", "message: {text: x, from: bob@example.org}", false},
		{"when: 'true', groups: [sales]", "message: {text: x, from: bob, to: [carol, alice]}", true}, // whom it reaches
		{"when: 'true', groups: [sales]", "message: {text: x, from: bob, room: r, to: [alice]}", true},
		{"when: 'true', groups: [sales]", "message: {text: x, from: bob, to: [carol]}", false},
		{"when: 'true', groups: [sales]", "flow: {name: x, person: alice}", true},
		{"when: 'true', groups: [sales]", "question: {name: x, person: bob}", false},
		{"when: 'true', groups: [sales]", "program: {path: /x, person: alice}", true},
		{"when: 'true', groups: [branch]", "flow: {name: x, client: '10.1.2.3:4000'}", true},
		{"when: 'true', groups: [branch]", "flow: {name: x, client: '10.2.2.3:4000'}", false},
		{"when: 'true', groups: [branch]", "flow: {name: x, client: '[2001:db8:1:5::1]:4000'}", true},
		{"when: 'true', groups: [branch]", "flow: {name: x, client: '[::ffff:10.1.2.3]:4000'}", true},
		{"when: 'true', groups: [branch]", "question: {name: x, client: 10.1.2.3}", true},
		{"when: 'true', groups: [branch]", "question: {name: x, client: '10.1.2.3:53'}", true},
		{"when: 'true', groups: [branch]", "question: {name: x, client: 192.0.2.7}", true},
		{"when: 'true', groups: [branch]", "question: {name: x, client: 192.0.2.8}", false},
		{"when: 'true', groups: [branch]", "question: {name: x, client: nonsense}", false},
		{"when: 'true', groups: [branch]", "question: {name: x}", false},
		{"when: 'true', groups: [kiosks]", "program: {path: /x, host: kiosk-3}", true},
		{"when: 'true', groups: [kiosks]", "program: {path: /x, host: Lobby}", true},
		{"when: 'true', groups: [kiosks]", "program: {path: /x, host: lobby-2}", false},
		{"when: 'true', groups: [kiosks]", "flow: {name: x, host: kiosk-1}", true},
		{"when: 'true', groups: [mixed]", "flow: {name: x, host: h9}", true},
		{"when: 'true', groups: [mixed]", "flow: {name: x, client: '10.9.0.1:1'}", true},
		{"when: 'true', groups: [mixed]", "flow: {name: x, person: carol}", true},
		{"when: 'true', groups: [mixed]", "flow: {name: x, person: dave, host: h8, client: '10.8.0.1:1'}", false},
		{"when: 'true', groups: [sales, kiosks]", "flow: {name: x, host: kiosk-1}", true}, // any of them
		{"when: 'true', groups: [sales, branch]", "flow: {name: x, host: kiosk-1}", false},
	})
}

// TestGroupsOfTheDirectory: a group with nothing in it has the members that the directory gives it.
func TestGroupsOfTheDirectory(t *testing.T) {
	p := compile(t, "version: 1\ngroups: {traders: {}}\nrules:\n  - {id: r, messages: 'true', groups: [traders], verdict: block}\n")
	tom, ann := event.Party{Handle: "tom", Groups: []string{"staff", "traders"}}, event.Party{Handle: "ann", Groups: []string{"Traders", "staff"}}
	for name, test := range map[string]struct {
		from         event.Party
		to, audience []event.Party
		want         bool
	}{
		"sender":               {tom, nil, nil, true},
		"recipient":            {ann, []event.Party{tom}, nil, true},
		"in the room":          {ann, nil, []event.Party{ann, tom}, true},
		"nobody":               {ann, []event.Party{ann}, []event.Party{ann}, false},
		"names are not folded": {ann, nil, nil, false},
	} {
		e := &event.Event{Kind: event.Message, From: test.from, To: test.to}
		e.Audience = test.audience
		if got := p.Decide(&policy.Input{Event: e, Now: monday, Final: true}).Rule == "r"; got != test.want {
			t.Errorf("%s: matches %v", name, got)
		}
	}
}

// TestManyGroups: membership is right also beyond the groups whose answers are remembered.
func TestManyGroups(t *testing.T) {
	var text strings.Builder
	text.WriteString("version: 1\ngroups:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  g%02d: {people: [p%02d]}\n", i, i)
	}
	text.WriteString("rules:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  - {id: r%02d, messages: 'true', groups: [g%02d], verdict: block}\n", i, i)
	}
	p := compile(t, text.String())
	for _, i := range []int{0, 1, 62, 63, 64, 65, 99} {
		e := &event.Event{Kind: event.Message, From: event.Party{Person: fmt.Sprintf("p%02d", i)}}
		if v := p.Decide(&policy.Input{Event: e, Now: monday, Final: true}); v.Rule != fmt.Sprintf("r%02d", i) || len(v.Also) > 0 {
			t.Errorf("member of group %d: %+v", i, v)
		}
	}
}

// TestLeavesOrg: what counts as outside.
func TestLeavesOrg(t *testing.T) {
	p := compile(t, "version: 1\ninternal: [Example.org, '*.example.net', partner@mail.example, bot]\n")
	for _, test := range []struct {
		from, to string
		want     bool
	}{
		{"a@example.org", "b@example.org", false},
		{"a@example.org", "B@EXAMPLE.ORG/desk", false},
		{"a@example.org", "b@chat.example.org", false},
		{"a@example.org", "b@example.net", false},
		{"a@example.org", "b@x.example.net", false},
		{"a@example.org", "partner@mail.example", false},
		{"a@example.org", "partner@mail.example/phone", false},
		{"a@example.org", "other@mail.example", true},
		{"a@example.org", "bot", false},
		{"a@example.org", "robot", true},
		{"a@example.org", "b@notexample.org", true},
		{"a@example.org", "b@example.org.evil.com", true},
		{"a@example.org", "example.org@evil.com", true},
		{"a@example.org", "b@org", true},
		{"a@example.org", "", true}, // nobody can say that it is inside
		{"x@other.org", "x@other.org/other", false},
		{"x@other.org", "a@example.org", false}, // it comes in
	} {
		e := &event.Event{Kind: event.Message, From: event.Party{Handle: test.from}, To: []event.Party{{Handle: test.to}}}
		if got := p.LeavesOrg(e); got != test.want {
			t.Errorf("%s to %s: leaves %v, want %v", test.from, test.to, got, test.want)
		}
		room := &event.Event{Kind: event.Message, From: event.Party{Handle: test.from}}
		room.Audience = []event.Party{{Handle: test.from}, {Handle: test.to}}
		if got := p.LeavesOrg(room); got != test.want {
			t.Errorf("%s in a room with %s: leaves %v, want %v", test.from, test.to, got, test.want)
		}
	}
	if p.LeavesOrg(&event.Event{Kind: event.Message}) {
		t.Error("what reaches nobody leaves")
	}
}

// TestLeavesOrgComesInThreeWays: from the caller, from a fact of a record, and from the audience.
func TestLeavesOrgComesInThreeWays(t *testing.T) {
	p := compile(t, "version: 1\ninternal: [example.org]\nrules:\n  - {id: out, messages: leaves_org, verdict: block}\n")
	fact := func(value string) []event.Fact { return []event.Fact{{Name: policy.LeavesOrgFact, Value: value}} }
	for name, test := range map[string]struct {
		to     string
		caller bool
		facts  []event.Fact
		want   bool
	}{
		"inside":                   {"b@example.org", false, nil, false},
		"audience":                 {"b@other.org", false, nil, true},
		"caller":                   {"b@example.org", true, nil, true},
		"fact":                     {"b@example.org", false, fact("true"), true},
		"fact denies":              {"b@example.org", false, fact("false"), false},
		"fact and audience differ": {"b@other.org", false, fact("false"), true},
	} {
		e := &event.Event{Kind: event.Message, From: event.Party{Handle: "a@example.org"}, To: []event.Party{{Handle: test.to}}}
		e.Facts = test.facts
		if got := p.Decide(&policy.Input{Event: e, Now: monday, Final: true, LeavesOrg: test.caller}).Rule == "out"; got != test.want {
			t.Errorf("%s: leaves %v", name, got)
		}
	}
}

// TestInternalSenders: expressions see who belongs to the organisation, its groups and its person.
func TestInternalSenders(t *testing.T) {
	p := compile(t, `version: 1
internal: [example.org]
rules:
  - {id: trader, messages: '"traders" in sender.groups', verdict: allow}
  - {id: person, messages: 'sender.person == "E-7"', verdict: allow}
  - {id: inside, messages: 'sender.internal && audience.all(a, a.internal)', verdict: allow}
  - {id: guest, messages: '!sender.internal', verdict: block}
`)
	for want, e := range map[string]*event.Event{
		"trader":    {Kind: event.Message, From: event.Party{Handle: "x@other.org", Groups: []string{"traders"}}},
		"person":    {Kind: event.Message, From: event.Party{Handle: "x@other.org", Person: "E-7"}},
		"inside":    {Kind: event.Message, From: event.Party{Handle: "a@example.org"}, To: []event.Party{{Handle: "b@example.org"}}},
		"guest":     {Kind: event.Message, From: event.Party{Handle: "x@other.org"}},
		"otherwise": {Kind: event.Message, From: event.Party{Handle: "a@example.org"}, To: []event.Party{{Handle: "x@other.org"}}},
	} {
		if v := p.Decide(&policy.Input{Event: e, Now: monday, Final: true}); v.Rule != want {
			t.Errorf("%s: %+v", want, v)
		}
	}
}
