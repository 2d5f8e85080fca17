package scanned

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

const hashOne, hashTwo = "11111111111111111111111111111111111111111111111111111111111111aa", "22222222222222222222222222222222222222222222222222222222222222bb"

func finding(path, app, sum string, c event.Confidence, identified bool) *scan.Finding {
	return &scan.Finding{Real: path, File: scan.Stat{SHA256: sum}, Identified: identified, Event: &event.Event{Content: event.Content{Program: &event.Program{App: app, Confidence: c}}}}
}

// TestNamed keeps the best reason for each file: named, identified, sure, else the first.
func TestNamed(t *testing.T) {
	f := &policy.File{Rules: []policy.Rule{
		{ID: "ours", Programs: policy.Programs{SHA256: policy.List{hashOne}}, Verdict: "allow"},
		{ID: "bad", Programs: policy.Programs{SHA256: policy.List{strings.ToUpper(hashTwo)}}, Verdict: "block"},
	}}
	n, err := NewNamed([]string{strings.ToUpper(hashOne)}, f)
	if err != nil || n[hashOne] != "named by its hash on the command line" || n[hashTwo] != "named by its hash in rule bad" {
		t.Fatalf("%v, %v", n, err)
	}
	for _, bad := range []string{"", "abc", hashOne + "00", strings.Repeat("g", 64)} {
		if _, err := NewNamed([]string{bad}, f); err == nil {
			t.Errorf("%q was taken for a hash", bad)
		}
	}
	hint, words := finding("/a", "x", "c", event.Low, false), finding("/a", "x", "c", event.Medium, false)
	bundle, named := finding("/a", "x", "c", event.High, true), finding("/a", "x", hashTwo, event.Low, false)
	other := finding("/b", "x", "d", event.Medium, false)
	var kept []*scan.Finding
	for i, step := range []struct{ f, want *scan.Finding }{{hint, hint}, {words, words}, {hint, words}, {bundle, bundle}, {named, named}, {bundle, named}, {other, other}} {
		kept = n.Add(kept, step.f)
		if kept[len(kept)-1] != step.want {
			t.Errorf("step %d: another finding was kept", i)
		}
	}
	if len(kept) != 2 {
		t.Errorf("%d files", len(kept))
	}
	var none Named
	if none.why(named) != "" {
		t.Error("named by nobody")
	}
}

// TestApprovedPlan does what somebody approved, and nothing that a plan does not offer.
func TestApprovedPlan(t *testing.T) {
	const left = `"action":"none","path":"/n","planned":{"app":"x","owner":"","device":0,"inode":0,"size":0,"sha256":"` + hashOne + `","rule":"","confidence":0.8,"undo":"","would":"quarantine"}`
	plan := strings.Replace(goodPlan, goodPlan[strings.Index(goodPlan, `"action":"none"`):strings.Index(goodPlan, "},\n{")], left, 1)
	p, err := ParsePlan([]byte(plan))
	if err != nil || len(p.Paths()) != 2 {
		t.Fatalf("%v, %v in %s", p, err, plan)
	}
	p, err = ParsePlan([]byte(strings.Replace(plan, `"action":"none"`, `"action":"none","approved_by":"alice"`, 1)))
	if err != nil || len(p.Paths()) != 3 || p.Acts[0].Action != actQuarantine {
		t.Fatalf("%v, %v", p, err)
	}
	n := Named{}
	if n.Approve(p); n[hashOne] != "approved in the plan by alice" || len(n) != 1 {
		t.Errorf("%v", n)
	}
	for _, bad := range [][2]string{{`"action":"none"`, `"action":"remove","approved_by":"alice"`}, {`"would":"quarantine"}`, `"would":""},"approved_by":"alice"`},
		{`"would":"quarantine"}`, `"would":"shell"},"approved_by":"alice"`}, {hashOne + `","rule":"","confidence":0.8,"undo":"","would":"quarantine"}`, `x","rule":"","confidence":0.8,"undo":"","would":"quarantine"},"approved_by":"a"`}} {
		if _, err := ParsePlan([]byte(strings.Replace(plan, bad[0], bad[1], 1))); err == nil {
			t.Errorf("%s was taken", bad[1])
		}
	}
}
