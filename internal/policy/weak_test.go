package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestWeakFactsNeverStop: whatever the policy, a rule with apps that does not ask for low never stops what is recognised below medium, and
// raising the confidence never loses a match.
func TestWeakFactsNeverStop(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	stopped := 0
	for range 200 {
		var rules []string
		byID := map[string]string{}
		for i := range 1 + r.IntN(8) {
			id := fmt.Sprintf("r%d", i)
			byID[id] = randomRule(r, id)
			rules = append(rules, byID[id])
		}
		p := compile(t, randomPolicy(r, "enforce", rules)+"otherwise: {network: allow, programs: allow}\n")
		for range 40 {
			e := randomEvent(r)
			if e.Flow == nil && e.Program == nil {
				continue
			}
			sure := func(c event.Confidence) event.Verdict {
				if e.Flow != nil {
					e.Flow.Confidence = c
				} else {
					e.Program.Confidence = c
				}
				return p.Decide(&policy.Input{Event: e, Now: e.Received, Final: true})
			}
			weak, strong := sure(event.Low), sure(event.Exact)
			rule := byID[weak.Rule]
			if weak.Action.Stops() && strings.Contains(rule, "apps:") && !strings.Contains(rule, "confidence: low") {
				t.Fatalf("a weak recognition was stopped: %+v\n%s", weak, rule)
			}
			if weak.Action.Stops() && !strong.Action.Stops() && !strings.Contains(strings.Join(rules, ""), "verdict: allow") {
				t.Fatalf("what is stopped when weak passes when sure: %+v, %+v", weak, strong)
			}
			if strong.Action.Stops() && !weak.Action.Stops() {
				stopped++
			}
		}
	}
	if stopped == 0 {
		t.Error("confidence never made a difference: the test says nothing")
	}
}

// TestAQuestionIsExact: names are exact, however the flow to them would be recognised.
func TestAQuestionIsExact(t *testing.T) {
	p := compile(t, "version: 1\nrules:\n  - {id: no, apps: [telegram], confidence: exact, verdict: block}\n")
	for _, e := range []*event.Event{
		{Kind: event.DNSQuery, Content: event.Content{Question: &event.Question{Name: "web.telegram.org", App: "telegram"}}},
		{Kind: event.WebRequest, Content: event.Content{Web: &event.Web{URL: "https://web.telegram.org/", App: "telegram"}}},
	} {
		if v := p.Decide(&policy.Input{Event: e, Now: monday, Final: true}); v.Rule != "no" {
			t.Errorf("%s: %+v", e.Kind, v)
		}
	}
}
