package classify

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// report asks policy and hands the finding over.
func (c *Classifier) report(f *flow.Flow, s *state, evicted bool) {
	s.reported = true
	c.phase(f, s)
	decided := s.decided
	if s.app == "" { // then when nothing more could be learned
		decided = f.SettledAt()
	}
	evidence := s.evidence
	if s.app == "" {
		evidence = s.known()
	}
	p := &c.pending
	*p = Finding{
		FirstSeen: f.First(), LastSeen: f.Last.Time(), Evidence: evidence, Evicted: evicted,
		Flow: event.Flow{
			Proto: f.ProtoName(), Client: f.Client.String(), Server: f.Server.String(),
			App: s.app, Service: s.service, Confidence: s.confidence, Name: s.name, JA4: s.said.ja4, ALPN: s.said.alpn,
			Packets: f.Packets, Bytes: f.Bytes, PacketsToVerdict: decided, Revised: s.revised, Capture: c.options.Capture,
		},
	}
	p.event = event.Event{Kind: event.FlowSeen, Time: f.First(), Received: f.Last.Time(), Source: event.SourceCapture} // on a wire too it only watches
	p.event.Flow, p.event.Evidence = &p.Flow, evidence
	if c.options.Host != nil {
		p.event.Host = c.options.Host(f.Client.Addr())
	}
	if c.options.Party != nil {
		p.event.From = c.options.Party(p.event.Host)
	}
	p.Verdict = event.Verdict{Action: event.Allow}
	if c.options.Policy != nil {
		now := f.Last.Time()
		if c.options.Now != nil {
			now = c.options.Now()
		}
		p.Verdict = c.options.Policy.Decide(&policy.Input{Event: &p.event, Now: now, Final: true})
	}
	p.event.Verdict = p.Verdict
	c.options.Report(p)
}

// What makes a flow of datagrams one of voice or video: frames of 20 to 60 ms each way (RFC 3551, section 4.2), which probes are far from.
const (
	callPackets = 40 // each way
	callGap     = 100 * time.Millisecond
)

// phase tells a call from the probes that come before it, where the app's protocol does not. It reports whether that is new.
func (c *Classifier) phase(f *flow.Flow, s *state) bool {
	there, back := f.Directions()
	if s.service == "probe" && min(there, back) >= callPackets && f.Last.Time().Sub(f.First()) < time.Duration(min(there, back))*callGap {
		s.change()
		s.service, s.revised = "call", s.revised || c.options.Live
		return true
	}
	return false
}

// Event returns the finding as an event of its own, without id and connector.
func (f *Finding) Event() *event.Event {
	e := f.event
	detail := f.Flow
	e.Flow, e.Evidence = &detail, slices.Clone(f.Evidence)
	return &e
}

// Of returns the finding as one of an event that something else than a Classifier made.
func (f Finding) Of(e *event.Event) Finding {
	f.event = *e
	return f
}

// Record reports whether the finding is one that must be kept (law 9): what policy stops or has an obligation for, and a messenger that no rule allows.
// All else is an observation.
func (f *Finding) Record() bool {
	if f.Verdict.Action.Stops() || len(f.Verdict.Obligations) > 0 {
		return true
	}
	return f.Flow.App != "" && f.Verdict.Rule == policy.OtherwiseRule
}

// portIn reports whether port is the number, or in the range "from-to", that want says.
func portIn(want string, port uint16) bool {
	from, to, isRange := strings.Cut(want, "-")
	low, err := strconv.ParseUint(from, 10, 16)
	if err != nil {
		return false
	}
	high := low
	if isRange {
		if high, err = strconv.ParseUint(to, 10, 16); err != nil {
			return false
		}
	}
	return uint64(port) >= low && uint64(port) <= high
}
