// Package policy parses, checks and compiles the policy, decides by it, and explains what it decided.
//
// A policy is one list of rules for all planes. The first rule that matches and has a verdict decides; obligations (redact, warn, review,
// alert) gather on the way. Decide is pure: its answer depends on the input and the policy version alone (law 2), so it can be asked again
// from a record. Matching is three-valued: while a fact that a rule needs may still come, the answer is event.Pending.
package policy

import (
	"net/netip"
	"time"

	"github.com/google/cel-go/common/types"

	"github.com/chaperone-im/chaperone/internal/event"
)

// EngineVersion is part of every policy version: it changes when the same file and the same input may give another verdict.
const EngineVersion = "1"

// OtherwiseRule is the rule of a verdict that no rule gave.
const OtherwiseRule = "otherwise"

// LeavesOrgFact is the name of the event fact that carries Input.LeavesOrg where the audience is not in the event.
const LeavesOrgFact = "leaves_org"

// ProtocolFact is the name of the event fact that carries the recognised protocol of a flow, such as tls.
const ProtocolFact = "protocol"

// plane is where a verdict is carried out.
type plane uint8

const (
	network plane = iota
	endpoint
	conversation
	planeCount
)

func (p plane) String() string { return [...]string{"network", "programs", "messages"}[p] }

// planeOf returns the plane of a kind of event; ok is false for kinds that are not decided.
func planeOf(k event.Kind) (plane, bool) {
	switch k {
	case event.FlowSeen, event.DNSQuery, event.WebRequest:
		return network, true
	case event.ProgramRun, event.FindingHit, event.MediaIn:
		return endpoint, true
	case event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave, event.RoomChange, event.Call:
		return conversation, true
	}
	return 0, false
}

// Decides reports whether a policy decides events of a kind.
func Decides(k event.Kind) bool {
	_, ok := planeOf(k)
	return ok
}

// mode says whether verdicts are carried out; unset leaves it to what is around.
type mode uint8

const (
	unset mode = iota
	monitor
	enforce
)

// Policy is a compiled policy. It never changes and is safe for concurrent use.
type Policy struct {
	file         *File
	version      string
	zone         *time.Location
	internal     map[string]struct{}
	groups       []group
	moded        []int // groups that have a mode
	rules        []*rule
	byPlane      [planeCount][]*rule
	modes        [planeCount]mode
	otherwise    [planeCount]event.Action
	notInspected event.Action
	adapter      types.Adapter // of expressions
}

var _ Decider = (*Policy)(nil)

// Version identifies engine, policy file, packs and catalog together.
func (p *Policy) Version() string { return p.version }

// File returns the file that the policy was made of. It must not be changed.
func (p *Policy) File() *File { return p.file }

// Decide returns the verdict on an input. It is pure and never blocks.
func (p *Policy) Decide(in *Input) event.Verdict {
	v := event.Verdict{Policy: p.version}
	pl, decided := planeOf(in.Event.Kind)
	if !decided {
		v.Action, v.Rule, v.Enforced = event.Allow, OtherwiseRule, true
		return v
	}
	f := p.facts(in, pl)
	d := decision{f: &f, v: &v}
	for _, r := range p.byPlane[pl] {
		d.take(r)
	}
	d.finish()
	return v
}

// decision is the state of one search through the rules.
type decision struct {
	f        *facts
	v        *event.Verdict
	first    *rule // the first match with a verdict
	pending  bool  // a pending rule stands before it
	mayAllow bool  // one of the pending rules could still allow
	failed   *rule // the first rule before it that could not be evaluated
}

// take asks one rule.
func (d *decision) take(r *rule) {
	result, _ := r.match(d.f)
	if d.first != nil {
		if result == yes {
			d.v.Also = append(d.v.Also, r.id)
		}
		return
	}
	switch result {
	case pending:
		d.pending = true
		d.mayAllow = d.mayAllow || !r.action.Stops()
	case broken:
		if d.failed == nil {
			d.failed = r
			d.f.policyError = true
		}
	case yes:
		if r.action == event.Allow && d.failed != nil && !r.namesNotInspected() {
			d.v.Also = append(d.v.Also, r.id)
			return // a rule before it could not be evaluated: only a rule that names that may allow
		}
		d.v.Obligations = append(d.v.Obligations, r.obligations...)
		if r.action != "" {
			d.first = r
		}
	}
}

// finish fills the verdict in when every rule has been asked.
func (d *decision) finish() {
	p, v := d.f.p, d.v
	switch {
	case d.first != nil:
		v.Action, v.Rule, v.Say, v.Reason = d.first.action, d.first.id, d.first.say, d.first.reason
	case d.failed != nil:
		v.Action, v.Rule, v.Reason = p.notInspected, OtherwiseRule, event.ReasonPolicyError+": "+d.failed.id
	case d.f.plane == conversation && len(d.f.in.Event.NotChecked) > 0:
		v.Action, v.Rule, v.Reason = p.notInspected, OtherwiseRule, "not inspected: "+d.f.in.Event.NotChecked[0].Reason
	default:
		v.Action, v.Rule = p.otherwise[d.f.plane], OtherwiseRule
	}
	// Who only watched, in a capture or a scan, carried nothing out, whatever the mode.
	v.Enforced = p.modeOf(d.f, d.first) == enforce && d.f.in.Event.Source != event.SourceCapture
	if d.pending {
		*v = event.Verdict{Action: event.Pending, Policy: v.Policy, Enforced: v.Enforced && v.Action.Stops() && !d.mayAllow}
	}
}

// modeOf finds the mode: of the rule, else of the groups (enforce wins where they differ), else of the plane.
func (p *Policy) modeOf(f *facts, r *rule) mode {
	if r != nil && r.mode != unset {
		return r.mode
	}
	found := unset
	for _, i := range p.moded {
		if p.groups[i].mode > found && f.inGroup(i) {
			found = p.groups[i].mode
		}
	}
	if found != unset {
		return found
	}
	return p.modes[f.plane]
}

// facts is what the rules of one decision look at.
type facts struct {
	in          *Input
	p           *Policy
	plane       plane
	question    bool // to our own resolver: never pending
	open        bool // a flow of which more may still be told
	policyError bool
	app         string
	sure        event.Confidence // of app
	service     string
	name        string
	proto       string // transport
	protocol    string // recognised
	server      netip.AddrPort
	client      netip.Addr
	member      [64]tri // of the first groups: memory of inGroup
	leaves      tri
	local       time.Time
	activation  activation
}

func (p *Policy) facts(in *Input, pl plane) facts {
	e := in.Event
	f := facts{in: in, p: p, plane: pl, question: e.Kind == event.DNSQuery}
	for i := range e.Facts {
		if e.Facts[i].Name == ProtocolFact {
			f.protocol = e.Facts[i].Value
		}
	}
	switch {
	case e.Flow != nil:
		f.app, f.sure, f.service, f.name, f.proto = e.Flow.App, e.Flow.Confidence, e.Flow.Service, hostName(e.Flow.Name), e.Flow.Proto
		f.server, _ = netip.ParseAddrPort(e.Flow.Server)
		f.client = addressOf(e.Flow.Client)
		f.open = !in.Final && e.Kind == event.FlowSeen
	case e.Question != nil:
		f.app, f.sure, f.name, f.client = e.Question.App, event.Exact, hostName(e.Question.Name), addressOf(e.Question.Client)
	case e.Web != nil:
		f.app, f.sure, f.protocol, f.proto = e.Web.App, event.Exact, "http", "tcp"
		f.name, f.server = splitURL(e.Web.URL)
	case e.Program != nil:
		f.app, f.sure = e.Program.App, e.Program.Confidence
	}
	if !f.client.IsValid() {
		f.client = addressOf(e.Host.Address)
	}
	return f
}

// addressOf reads an address with or without a port.
func addressOf(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap()
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap()
	}
	return netip.Addr{}
}

// inGroup reports whether the event is about a member of group i, and remembers it.
func (f *facts) inGroup(i int) bool {
	if i >= len(f.member) {
		return f.p.groups[i].has(f)
	}
	if f.member[i] == unknown {
		f.member[i] = triOf(f.p.groups[i].has(f))
	}
	return f.member[i] == yes
}

// leavesOrg is what the caller says, or a fact of the event, or the audience.
func (f *facts) leavesOrg() bool {
	if f.leaves == unknown {
		leaves := f.in.LeavesOrg || f.p.LeavesOrg(f.in.Event)
		for _, fact := range f.in.Event.Facts {
			leaves = leaves || fact.Name == LeavesOrgFact && fact.Value == "true"
		}
		f.leaves = triOf(leaves)
	}
	return f.leaves == yes
}

// now is the time of the decision in the policy's zone.
func (f *facts) now() time.Time {
	if f.local.IsZero() {
		now := f.in.Now
		if now.IsZero() {
			now = f.in.Event.Received
		}
		f.local = now.In(f.p.zone)
	}
	return f.local
}

func (f *facts) notInspected() []notInspectedVar {
	marks := f.in.Event.NotChecked
	out := make([]notInspectedVar, len(marks), len(marks)+1)
	for i, n := range marks {
		out[i] = notInspectedVar{n.Inspector, n.Reason, n.File}
	}
	if f.policyError {
		out = append(out, notInspectedVar{"policy", event.ReasonPolicyError, ""})
	}
	return out
}
