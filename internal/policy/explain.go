package policy

import (
	"fmt"
	"slices"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Explanation says how a verdict came about.
type Explanation struct {
	Verdict event.Verdict
	Steps   []Step // every rule of the policy, in order
}

// Step is one rule and its answer.
type Step struct {
	Rule    string `json:"rule"`
	Result  string `json:"result"`            // yes, no, pending, error, or "other plane"
	Matcher string `json:"matcher,omitempty"` // the matcher that said no, or that is pending; why, where that is not plain
	Decides bool   `json:"decides,omitempty"`
}

// Explain decides, and says of each rule whether it matched and which matcher did not.
func (p *Policy) Explain(in *Input) Explanation {
	out := Explanation{Verdict: p.Decide(in)}
	pl, decided := planeOf(in.Event.Kind)
	f := p.facts(in, pl)
	d := decision{f: &f, v: &event.Verdict{}}
	for _, r := range p.rules {
		step := Step{Rule: r.id, Result: "other plane"}
		if decided && r.planes[pl] {
			result, matcher := r.match(&f)
			step.Result, step.Matcher = result.String(), matcher
			if matcher == "apps" && r.tooWeak(&f) && (r.anyApp || slices.Contains(r.apps, f.app)) {
				step.Matcher = fmt.Sprintf("apps: too weak (%.2f, wants %.2f)", f.sure.Float(), r.sure.Float())
			}
			d.take(r)
		}
		step.Decides = r.id == out.Verdict.Rule
		out.Steps = append(out.Steps, step)
	}
	return out
}

// Redecide decides anew from a recorded event. With the version that decided then, the verdict is the same bit for bit (law 2): an event
// holds its findings, parties, groups, audience and facts, and Received is the time of the decision.
func (p *Policy) Redecide(stored *event.Event) event.Verdict {
	return p.Decide(&Input{Event: stored, Now: stored.Received, Final: true})
}

// RuleInfo is what a rule is for, for people.
type RuleInfo struct {
	ID          string   `json:"rule"`
	Planes      []string `json:"planes"`
	Verdict     string   `json:"verdict"`
	Obligations []string `json:"obligations,omitempty"`
	Mode        []string `json:"mode"`            // by plane, as Planes
	Notes       []string `json:"notes,omitempty"` // what is carried out otherwise than one may think
}

// Rules lists the rules in order with the planes that follow from their matchers.
func (p *Policy) Rules() []RuleInfo {
	var out []RuleInfo
	for _, r := range p.rules {
		info := RuleInfo{ID: r.id, Verdict: string(r.action)}
		for pl, on := range r.planes {
			if on {
				info.Planes = append(info.Planes, plane(pl).String())
				info.Mode = append(info.Mode, modeWord(r.mode, p.modes[pl]))
			}
		}
		for _, o := range r.obligations {
			info.Obligations = append(info.Obligations, o.Kind+": "+o.Queue)
		}
		info.Notes = r.notes()
		out = append(out, info)
	}
	return out
}

// notes says of a rule what gateways, resolver and scan do not carry out to the letter. It must stay true to them: a connector that learns to
// do more takes its note away.
func (r *rule) notes() []string {
	var out []string
	if r.planes[conversation] && r.action == event.Hold {
		out = append(out, "hold: the message is refused and recorded; nothing delivers it later, the sender sends it again once it is allowed")
	}
	if r.planes[conversation] && r.action == event.Quarantine {
		out = append(out, "quarantine: the message is refused and recorded, as with block")
	}
	if r.action.Stops() && slices.ContainsFunc(r.exprs, func(x *expression) bool { return x.appAlone }) && !r.anyApp && len(r.apps) == 0 {
		out = append(out, "app: the expression stops however weakly the messenger is recognised, an address alone is enough; add && confidence >= 0.8")
	}
	for _, o := range r.obligations {
		switch o.Kind {
		case event.Redact:
			out = append(out, "redact: gateways do not rewrite messages; what would have to be redacted is refused as a whole")
		case event.Warn:
			if !r.planes[network] && !r.planes[endpoint] {
				continue
			}
			out = append(out, "warn: on messages, a gateway tells the sender; no resolver or scan tells anybody, there the words are put on record")
		}
	}
	return out
}

func modeWord(own, plane mode) string {
	if own != unset {
		plane = own
	}
	if plane == enforce {
		return "enforce"
	}
	return "monitor"
}

// RetentionOf returns the retention class of an event: of those that match, the longest. ok is false when the policy has none for it.
func (p *Policy) RetentionOf(e *event.Event) (class Retention, ok bool) {
	pl, _ := planeOf(e.Kind)
	f := p.facts(&Input{Event: e}, pl)
	for _, c := range p.file.Retention {
		kinds := len(c.Kinds) == 0 || slices.Contains(c.Kinds, string(e.Kind))
		rooms := len(c.Rooms) == 0 || e.Room.Name != "" && matchAny(newGlobs(c.Rooms), e.Room.Name)
		groups := len(c.Groups) == 0 || slices.ContainsFunc(c.Groups, func(name string) bool {
			i := slices.IndexFunc(p.groups, func(g group) bool { return g.name == name })
			return i >= 0 && f.inGroup(i)
		})
		if kinds && rooms && groups && (!ok || c.Days > class.Days) {
			class, ok = c, true
		}
	}
	return class, ok
}
