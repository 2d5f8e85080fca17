package classify

import (
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

// kinds of evidence. Those of one kind have one cause (two names in one hello, two ranges that hold one address), so only the strongest
// counts; those of different kinds are independent.
const (
	kindName = iota
	kindTraffic
	kindAnswer
	kindSocket
	kindAddress
	kinds
)

func kindOf(fact string) int {
	switch {
	case strings.HasPrefix(fact, "traffic:"):
		return kindTraffic
	case strings.HasPrefix(fact, "answer "):
		return kindAnswer
	case strings.HasPrefix(fact, "socket:"), strings.HasPrefix(fact, neighbourFact):
		return kindSocket
	case strings.HasPrefix(fact, "address:"):
		return kindAddress
	}
	return kindName
}

const maxEvidence = 8

// has reports whether s has that evidence.
func (s *state) has(e event.Evidence) bool {
	return slices.ContainsFunc(s.evidence, func(x event.Evidence) bool { return x.Fact == e.Fact && x.Value == e.Value })
}

// add notes evidence for s's app, and combines: independent facts that are each right so often are all wrong together as often as the
// product of what each misses. Two low ones stay below medium, and nothing is surer than exact.
func (s *state) add(e event.Evidence) {
	if s.has(e) {
		return
	}
	if len(s.evidence) < maxEvidence {
		s.evidence = append(s.evidence, e)
	}
	k := kindOf(e.Fact)
	s.strongest[k] = max(s.strongest[k], uint16(e.Strength))
	const whole = 1000
	doubt := whole
	for _, c := range s.strongest {
		doubt = doubt * (whole - int(c)) / whole
	}
	s.confidence = min(event.Confidence(whole-doubt), max(event.Exact, s.best()))
}

// best is the strongest single fact.
func (s *state) best() event.Confidence { return event.Confidence(slices.Max(s.strongest[:])) }

// known is what a flow of no messenger showed: no fact that names one, and so of no strength.
func (s *state) known() []event.Evidence {
	var out []event.Evidence
	switch {
	case s.said.ech && standsIn(s.name): // which the decoder's line says
	case s.name != "" && s.ownName, s.name != "" && s.said.decoder == "dns":
		out = append(out, event.Evidence{Fact: s.said.decoder + " name", Value: s.name})
	case s.name != "":
		out = append(out, event.Evidence{Fact: "answer name", Value: s.name})
	}
	switch {
	case s.said.decoder == "" || s.said.decoder == "dns" || s.said.decoder == candidateFact || s.name != "" && s.ownName:
	default:
		out = append(out, event.Evidence{Fact: "decoder:" + s.said.decoder, Value: s.said.shown})
	}
	if s.said.ech {
		out = append(out, event.Evidence{Fact: "ech", Value: echSaid})
	}
	return out
}
