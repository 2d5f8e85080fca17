package rollout

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/dns"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Side is one catalog with the policy that is compiled with it.
type Side struct {
	Serial uint64
	Set    *rules.Set
}

// Decide implements policy.Decider.
func (s *Side) Decide(in *policy.Input) event.Verdict { return s.Set.Policy.Decide(in) }

// Question names the messenger of a question and decides.
func (s *Side) Question(e *event.Event, now time.Time) {
	dns.Recognise(s.Set.Catalog, e)
	e.Verdict = s.Decide(&policy.Input{Event: e, Now: now, Final: true})
}

// Pair is what is in force and, while a change is tried or watched, what is asked beside it. It does not change once made.
type Pair struct {
	First  *Side // acts
	Second *Side // is asked too; nil when nothing is tried
	Stage  Stage // of Second; None when Second is the old one, watched after a change
	Group  string
	Tally  *Tally
}

// add counts what First and Second say, the old one first.
func (p *Pair) add(kind string, first, second Answer) {
	if p.Stage == None {
		first, second = second, first
	}
	p.Tally.Add(kind, first, second)
}

// acts reports whether Second acts for what the event is about: it is in the canary group.
func (p *Pair) acts(e *event.Event, now time.Time) bool {
	return p.Stage == Canary && p.First.Set.Policy.Member(p.Group, &policy.Input{Event: e, Now: now, Final: true})
}

// Question decides a question by the side that acts for who asks, and counts how the other would have.
func (p *Pair) Question(e *event.Event, now time.Time) {
	p.First.Question(e, now)
	if p.Second == nil {
		return
	}
	other, question := *e, *e.Question
	other.Question = &question
	p.Second.Question(&other, now)
	p.add("question", Answer{e.Question.App, e.Verdict.Action}, Answer{question.App, other.Verdict.Action})
	if p.acts(e, now) {
		e.Evidence, e.Verdict, e.Question.App = other.Evidence, other.Verdict, question.App
	}
}

// NewlyForbidden returns what the policy promises and the new side breaks while the old one keeps it: names that its allow rules spell out,
// and its own cases.
func NewlyForbidden(ctx context.Context, before, after *Side) []string {
	var out []string
	for _, name := range mustAllow(before.Set.Policy.File()) {
		if !stops(before, name) && stops(after, name) {
			out = append(out, name)
		}
	}
	failedBefore, _ := before.Set.Policy.RunTests(ctx, before.Set.Finder())
	failedAfter, _ := after.Set.Policy.RunTests(ctx, after.Set.Finder())
	known := map[int]bool{}
	for _, f := range failedBefore {
		known[f.Case] = true
	}
	for _, f := range failedAfter {
		if !known[f.Case] {
			out = append(out, "case of the policy: "+f.Msg)
		}
	}
	return out
}

// mustAllow returns the names that rules with the verdict allow spell out; of a pattern one name that it covers.
func mustAllow(f *policy.File) []string {
	var out []string
	for i := range f.Rules {
		if f.Rules[i].Verdict != string(event.Allow) {
			continue
		}
		for _, name := range f.Rules[i].Names {
			if rest, ok := strings.CutPrefix(name, "*."); ok {
				name = "host-1." + rest
			}
			if !strings.Contains(name, "*") && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// stops reports whether a question for the name, by nobody in particular, is stopped.
func stops(s *Side, name string) bool {
	e := &event.Event{Kind: event.DNSQuery, Content: event.Content{Question: &event.Question{Name: name, Type: "A"}}}
	s.Question(e, time.Time{})
	return e.Verdict.Action.Stops()
}

// live is the catalog of the side that is in force at each moment, for what keeps state over a change.
type live struct{ side func() *Side }

func (l live) catalog() *catalog.Catalog { return l.side().Set.Catalog }

// ByName implements classify.Catalog.
func (l live) ByName(host string) []catalog.Match { return l.catalog().ByName(host) }

// ByAddress implements classify.Catalog.
func (l live) ByAddress(addr netip.Addr) []catalog.Match { return l.catalog().ByAddress(addr) }

// Traffic implements classify.Catalog.
func (l live) Traffic() []catalog.TrafficSignature { return l.catalog().Traffic() }
