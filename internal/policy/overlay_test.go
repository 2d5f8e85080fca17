package policy_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestBefore: an exception comes first, and makes another version.
func TestBefore(t *testing.T) {
	f, err := policy.Parse("p", []byte("version: 1\nrules: [{id: none, apps: [\"*\"], verdict: block}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	with := f.Before([]byte("a"), policy.Rule{ID: "approval-1", Apps: policy.List{"telegram"}, Verdict: "allow", Until: "2100-01-01T00:00:00Z"})
	versions := map[string]bool{}
	for i, c := range []struct {
		f    *policy.File
		want event.Action
	}{{f, event.Block}, {with, event.Allow}, {f.Before([]byte("b")), event.Block}} {
		p, err := policy.Compile(c.f, policy.Known{})
		if err != nil {
			t.Fatal(err)
		}
		versions[p.Version()] = true
		e := &event.Event{Kind: event.FindingHit, Content: event.Content{Program: &event.Program{App: "telegram", Confidence: event.Exact}}}
		if v := p.Decide(&policy.Input{Event: e, Final: true}); v.Action != c.want {
			t.Errorf("%d: %v, want %v", i, v.Action, c.want)
		}
	}
	if len(versions) != 3 {
		t.Errorf("%d versions of three policies", len(versions))
	}
	if len(f.Rules) != 1 || string(f.Source()) == string(with.Source()) {
		t.Error("the file itself was changed, or the text was not")
	}
}

// TestJoined: a machine that is in a group has what the rules of the group say, and the file itself is as before.
func TestJoined(t *testing.T) {
	f, err := policy.Parse("p", []byte("version: 1\ngroups: {desk: {}, sales: {people: [bob]}}\nrules:\n  - {id: may, apps: [telegram], groups: [desk], verdict: allow}\n  - {id: none, apps: ['*'], verdict: block}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		f    *policy.File
		want event.Action
	}{{f, event.Block}, {f.Joined([]string{"desk", "gone"}), event.Allow}, {f.Joined([]string{"sales"}), event.Block}, {f.Joined(nil), event.Block}, {f, event.Block}} {
		p, err := policy.Compile(c.f, policy.Known{})
		if err != nil {
			t.Fatal(err)
		}
		e := &event.Event{Kind: event.ProgramRun, Host: event.Host{Name: "pc"}, Content: event.Content{Program: &event.Program{App: "telegram", Confidence: event.Exact}}}
		if v := p.Decide(&policy.Input{Event: e, Final: true}); v.Action != c.want {
			t.Errorf("%v: %v by %s, want %v", c.f.Groups, v.Action, v.Rule, c.want)
		}
	}
}
