package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// randomRule writes a rule over small alphabets, so that rules and events meet often.
func randomRule(r *rand.Rand, id string) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	what := pick("apps: [whatsapp]", `apps: ["*"]`, `apps: ["*"], confidence: low`, `apps: ["*"], service: call`, "names: ['*.x.example', y.example]", "addresses: [192.0.2.0/25]", "ports: [443]", "protocols: [tls]",
		"programs: {format: pe}", "programs: {media: removable}", "rooms: ['desk*']", `messages: 'hits.exists(h, h.name == "payment-card")'`, `messages: 'leaves_org'`,
		`messages: 'int(text) > 5'`, `when: 'sender.person == "p1"'`, `when: 'app == "whatsapp"'`)
	who := pick("", "", ", groups: [g1]", ", groups: [g1, g2]", `, hours: "Mon-Fri 09:00-17:00"`, ", until: 2026-06-01")
	does := pick(", verdict: allow", ", verdict: block", ", review: q", ", verdict: block, alert: r")
	return fmt.Sprintf("  - {id: %s, %s%s%s}\n", id, what, who, does)
}

func randomPolicy(r *rand.Rand, mode string, rules []string) string {
	return "version: 1\nmode: " + mode + "\ninternal: [example.org]\ngroups: {g1: {people: [p1]}, g2: {networks: [10.0.0.0/9]}}\nrules:\n" + strings.Join(rules, "")
}

func randomEvent(r *rand.Rand) *event.Event {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	e := &event.Event{Received: time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), 0, 0, 0, time.UTC)}
	e.From = event.Party{Handle: pick("a@example.org", "b@other.org"), Person: pick("", "p1", "p2"), Groups: []string{pick("g1", "g3")}}
	switch r.IntN(4) {
	case 0:
		e.Kind = event.FlowSeen
		e.Flow = &event.Flow{Proto: "tcp", App: pick("", "whatsapp", "xmpp"), Service: pick("", "call"), Name: pick("", "a.x.example", "y.example"), Server: pick("192.0.2.1:443", "192.0.2.200:80"), Confidence: []event.Confidence{0, event.Low, event.Medium, event.Exact}[r.IntN(4)], Client: pick("10.1.1.1:9", "10.200.1.1:9")}
		if r.IntN(2) == 0 {
			e.Facts = []event.Fact{{Name: policy.ProtocolFact, Value: "tls"}}
		}
	case 1:
		e.Kind, e.Question = event.DNSQuery, &event.Question{Name: pick("a.x.example", "z.example"), App: pick("", "whatsapp"), Client: "10.1.1.1"}
	case 2:
		e.Kind, e.Program = event.FindingHit, &event.Program{App: pick("", "whatsapp"), Format: pick("pe", "elf"), Media: pick("", "removable"), Confidence: []event.Confidence{event.Low, event.High}[r.IntN(2)]}
	case 3:
		e.Kind, e.Text, e.Room.Name = event.Message, pick("7", "3", "words"), pick("", "desk1")
		e.To = []event.Party{{Handle: pick("c@example.org", "d@other.org"), Person: pick("p1", "p3")}}
		if r.IntN(2) == 0 {
			e.Hits = []event.Hit{{Inspector: "pattern", Name: "payment-card", Count: 1}}
		}
		if r.IntN(3) == 0 {
			e.NotChecked = []event.NotInspected{{Inspector: "x", Reason: event.ReasonTimeout}}
		}
	}
	return e
}

// TestUnrelatedRuleChangesNothing: a rule that can never match changes no verdict, wherever it is put; and the mode changes no match.
func TestUnrelatedRuleChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		var rules []string
		for i := range 1 + r.IntN(8) {
			rules = append(rules, randomRule(r, fmt.Sprintf("r%d", i)))
		}
		base := compile(t, randomPolicy(r, "enforce", rules))
		watched := compile(t, randomPolicy(r, "monitor", rules))
		at := r.IntN(len(rules) + 1)
		more := append(append(append([]string{}, rules[:at]...), "  - {id: unrelated, when: 'sender.handle == \"nobody\"', verdict: block}\n"), rules[at:]...)
		extended := compile(t, randomPolicy(r, "enforce", more))
		for range 40 {
			e := randomEvent(r)
			for _, final := range []bool{true, false} {
				in := &policy.Input{Event: e, Now: e.Received, Final: final}
				want, got, seen := base.Decide(in), extended.Decide(in), watched.Decide(in)
				got.Policy = want.Policy
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("an unrelated rule changed the verdict on %+v:\n%+v\n%+v\n%s", e, want, got, strings.Join(more, ""))
				}
				if seen.Enforced {
					t.Fatalf("enforced in monitor mode: %+v", seen)
				}
				seen.Policy, seen.Enforced = want.Policy, want.Enforced
				if !reflect.DeepEqual(seen, want) {
					t.Fatalf("the mode changed the match on %+v:\n%+v\n%+v", e, want, seen)
				}
			}
		}
	}
}

// TestRedecideFromRecord: the verdict comes again, bit for bit, from an event that went through its canonical bytes (law 2).
func TestRedecideFromRecord(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var rules []string
	for i := range 20 {
		rules = append(rules, randomRule(r, fmt.Sprintf("r%d", i)))
	}
	p := compile(t, randomPolicy(r, "enforce", rules))
	for range 500 {
		e := randomEvent(r)
		leaves := r.IntN(4) == 0
		if leaves {
			e.Facts = append(e.Facts, event.Fact{Name: policy.LeavesOrgFact, Value: "true"})
		}
		e.Verdict = p.Decide(&policy.Input{Event: e, Now: e.Received, Final: true, LeavesOrg: leaves})
		header, content, err := e.Split(event.NewSalt())
		if err != nil {
			t.Fatal(err)
		}
		stored, err := event.Assemble(header, content)
		if err != nil {
			t.Fatal(err)
		}
		if again := p.Redecide(stored); !reflect.DeepEqual(again, stored.Verdict) {
			t.Fatalf("decided %+v, anew %+v", stored.Verdict, again)
		}
	}
}

func TestVersion(t *testing.T) {
	f, err := policy.Parse("p", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]bool{}
	for _, k := range []policy.Known{known(), {Apps: known().Apps, Hits: known().Hits, PacksVersion: "1"}, {Apps: known().Apps, Hits: known().Hits, CatalogVersion: "1"}} {
		p, err := policy.Compile(f, k)
		if err != nil {
			t.Fatal(err)
		}
		versions[p.Version()] = true
		if len(p.Version()) != 16 || p.Decide(&policy.Input{Event: message("a", "b"), Final: true}).Policy != p.Version() {
			t.Errorf("version %q", p.Version())
		}
	}
	if len(versions) != 3 {
		t.Errorf("versions %v", versions)
	}
	again := compile(t, example)
	if !versions[again.Version()] {
		t.Error("the same file has another version")
	}
}

// TestReload replaces the policy while others decide: all or nothing.
func TestReload(t *testing.T) {
	first, second := compile(t, example), compile(t, strings.Replace(example, "verdict: block, say: \"Card", "verdict: hold, say: \"Card", 1))
	h := policy.NewHolder(first)
	in := &policy.Input{Event: message("a@example.org", "x@other.org", "payment-card"), Now: monday, Final: true}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				v := h.Decide(in)
				if v.Policy == first.Version() && v.Action != event.Block || v.Policy == second.Version() && v.Action != event.Hold {
					t.Errorf("mixed policies: %+v", v)
				}
			}
		})
	}
	broken := errors.New("broken")
	if err := h.Reload(func() (*policy.Policy, error) { return nil, broken }); !errors.Is(err, broken) || h.Policy() != first {
		t.Errorf("a broken policy: %v", err)
	}
	if err := h.Reload(func() (*policy.Policy, error) { return second, nil }); err != nil || h.Policy() != second {
		t.Errorf("reload: %v", err)
	}
	wg.Wait()
}

func TestRetention(t *testing.T) {
	p := compile(t, `version: 1
groups: {traders: {people: [tom]}}
retention:
  - {id: default, days: 100}
  - {id: trades, days: 2000, erasable: no, groups: [traders]}
  - {id: rooms, days: 500, erasable: request, rooms: ["desk*"], kinds: [message]}
`)
	for want, e := range map[string]*event.Event{
		"default": {Kind: event.Message},
		"trades":  {Kind: event.Message, From: event.Party{Person: "tom"}, Room: event.Room{Name: "desk1"}},
		"rooms":   {Kind: event.Message, Room: event.Room{Name: "desk1"}},
	} {
		if c, ok := p.RetentionOf(e); !ok || c.ID != want {
			t.Errorf("got %s, want %s", c.ID, want)
		}
	}
	if _, ok := compile(t, "version: 1").RetentionOf(&event.Event{Kind: event.Message}); ok {
		t.Error("a class out of nothing")
	}
}

func TestUndecidedKinds(t *testing.T) {
	p := compile(t, example)
	for _, k := range []event.Kind{event.Delivery, event.Act, event.Gap, event.VerdictSet} {
		if v := p.Decide(&policy.Input{Event: &event.Event{Kind: k}}); v.Action != event.Allow || v.Rule != policy.OtherwiseRule {
			t.Errorf("%s: %+v", k, v)
		}
	}
}

// TestRunTests runs the cases of a policy with a finder that is wired.
func TestRunTests(t *testing.T) {
	rules, first, _ := strings.Cut(example, "tests: [")
	p := compile(t, rules+"tests:\n  - "+strings.TrimSuffix(first, "]\n")+`
  - {message: {text: hello, from: alice@example.org, to: [x@other.org]}, verdict: block, rule: cards}
  - {question: {name: web.whatsapp.com}, verdict: block}
  - {flow: {name: x}, question: {name: x}, verdict: block}
  - {message: {text: hi, from: a, to: [b]}, verdict: allow, also: ["review:venue"]}
`)
	find := policy.Finder{
		Inspect: func(_ context.Context, e *event.Event) {
			if strings.HasPrefix(e.Text, "4111") {
				e.Hits = append(e.Hits, event.Hit{Inspector: "pattern", Name: "payment-card", Count: 1})
			}
		},
		AppOf: func(name, _ string) (string, string, event.Confidence) {
			return strings.TrimSuffix(strings.TrimPrefix(name, "web."), ".com"), "", event.High
		},
	}
	failures, count := p.RunTests(t.Context(), find)
	var cases []string
	for _, f := range failures {
		cases = append(cases, fmt.Sprint(f.Case, " ", f.Msg))
	}
	want := []string{"1 wanted block by cards, got allow by otherwise", "3 a case has one of message, flow, question and program", "4 wanted the obligation review:venue, got []"}
	if count != 5 || !reflect.DeepEqual(cases, want) {
		t.Errorf("%d cases, failures %q", count, cases)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"version: 1\ngroups: {a: {people: [b]}}\nrules: [{id: c, names: [x.org], ports: 1-2, groups: a, hours: Mon 07:00-08:00, verdict: allow}]", "version: 1\nrules: [{id: a, when: 'true', verdict: block}]", "version: 1\ntests: [{message: {text: x}}]", "a: &a [*a]", "- - - -", "{{{{", "? ? ?", "version: 1\nmode:\n", "rules:\n- id"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := policy.Parse("f", data)
		if err != nil {
			return
		}
		p, err := policy.Compile(file, known())
		if err != nil {
			return
		}
		for _, e := range []*event.Event{message("a", "b", "payment-card"), {Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{}}}, {Kind: event.FindingHit}} {
			if v := p.Decide(&policy.Input{Event: e, Now: monday, Final: true}); v.Action == event.Pending || v.Action == "" || v.Rule == "" {
				t.Fatalf("verdict %+v", v)
			}
		}
	})
}
