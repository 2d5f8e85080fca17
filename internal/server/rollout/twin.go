package rollout

import (
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Twin is a flow.Handler that names messengers by the catalog in force, and by a second one while that is tried. A change of the catalog in
// force takes place between two flows and forgets no flow. Of what the two say of one flow, one is reported.
type Twin struct {
	pair    func() *Pair
	options classify.Options
	now     *Pair // what is in force for this flow
	first   *classify.Classifier
	second  *classify.Classifier // nil when nothing is tried
	flows   map[*flow.Flow]*shadow
	current *shadow // of the flow that is looked at; nil when only first knows it
}

// shadow is a flow as the second classifier sees it, and what the two have said.
type shadow struct {
	from          *classify.Classifier // whose state the flow holds
	flow          flow.Flow
	first, second *Answer
	done          bool              // it is reported; nobody else speaks of it
	kept          *classify.Finding // what the first said of a flow for which the second acts and has not spoken
}

// NewTwin returns a handler for one interface. The policy of the options is not used.
func NewTwin(pair func() *Pair, o classify.Options) *Twin {
	t := &Twin{pair: pair, options: o, now: pair(), flows: map[*flow.Flow]*shadow{}}
	first := o
	first.Report = t.firstSays
	first.Policy = decider(func(in *policy.Input) event.Verdict { return t.now.First.Decide(in) })
	t.first = classify.New(live{func() *Side { return t.now.First }}, first)
	t.begin()
	return t
}

type decider func(in *policy.Input) event.Verdict

// Decide implements policy.Decider.
func (d decider) Decide(in *policy.Input) event.Verdict { return d(in) }

// begin makes the second classifier, when there is something to try.
func (t *Twin) begin() {
	t.second = nil
	for f, s := range t.flows {
		if s.kept != nil {
			s.done = true
			t.options.Report(s.kept)
		}
		if !s.done {
			delete(t.flows, f) // first goes on alone
		}
	}
	if side := t.now.Second; side != nil {
		o := t.options
		o.Report, o.Policy = t.secondSays, side
		t.second = classify.New(side.Set.Catalog, o)
	}
}

// renew looks whether another catalog is in force.
func (t *Twin) renew() {
	p := t.pair()
	if p == t.now {
		return
	}
	before := t.now
	t.now = p
	if before.First.Set.Catalog != p.First.Set.Catalog {
		t.first.Renew()
	}
	if before.Second != p.Second {
		t.begin()
	}
}

// Opened implements flow.Handler.
func (t *Twin) Opened(f *flow.Flow) {
	t.renew()
	if t.second != nil {
		t.flows[f] = &shadow{from: t.second}
	}
	t.both(f, func(k *classify.Classifier, f *flow.Flow) { k.Opened(f) })
}

// Learned implements flow.Handler.
func (t *Twin) Learned(f *flow.Flow, facts []decode.Fact) {
	if t.second == nil { // the steady path
		t.first.Learned(f, facts)
		return
	}
	t.both(f, func(k *classify.Classifier, f *flow.Flow) { k.Learned(f, facts) })
}

// Settled implements flow.Handler.
func (t *Twin) Settled(f *flow.Flow) {
	t.both(f, func(k *classify.Classifier, f *flow.Flow) { k.Settled(f) })
}

// Closed implements flow.Handler.
func (t *Twin) Closed(f *flow.Flow, evicted bool) {
	t.both(f, func(k *classify.Classifier, f *flow.Flow) { k.Closed(f, evicted) })
	delete(t.flows, f)
}

// both gives the flow to the first classifier, and a copy of it, with what the second knows of it, to the second.
func (t *Twin) both(f *flow.Flow, tell func(*classify.Classifier, *flow.Flow)) {
	t.current = t.flows[f]
	tell(t.first, f)
	if s := t.current; s != nil && s.from == t.second && t.second != nil {
		known := s.flow.State
		s.flow = *f
		s.flow.State = known
		tell(t.second, &s.flow)
	}
	t.current = nil
}

func (t *Twin) firstSays(f *classify.Finding) {
	s := t.current
	if s == nil {
		t.options.Report(f)
		return
	}
	if s.done && s.from != t.second {
		return
	}
	s.first = &Answer{f.Flow.App, f.Verdict.Action}
	if t.now.acts(f.Event(), t.time()) {
		kept := *f
		kept.Evidence = slices.Clone(f.Evidence)
		if !s.done {
			s.kept = &kept
		}
	} else {
		s.done = true
		t.options.Report(f)
	}
	t.compare(s)
}

func (t *Twin) secondSays(f *classify.Finding) {
	s := t.current
	s.second = &Answer{f.Flow.App, f.Verdict.Action}
	if t.now.acts(f.Event(), t.time()) {
		s.kept, s.done = nil, true
		t.options.Report(f)
	}
	t.compare(s)
}

// compare counts a flow of which both have spoken.
func (t *Twin) compare(s *shadow) {
	if s.first != nil && s.second != nil {
		t.now.add("flow", *s.first, *s.second)
	}
}

func (t *Twin) time() time.Time {
	if t.options.Now != nil {
		return t.options.Now()
	}
	return time.Now()
}
