package rollout

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/dns"
)

// Reconsider names the messenger of a recorded flow, question or program anew, as far as the record tells: by the name and the address, by the
// hash, and else by whether the facts that spoke then still stand in the catalog. What only the bytes could tell is not told.
func Reconsider(c *catalog.Catalog, e *event.Event) {
	switch {
	case e.Question != nil:
		dns.Recognise(c, e)
	case e.Flow != nil:
		e.Flow.App, e.Flow.Service, e.Flow.Confidence = reconsiderFlow(c, e)
	case e.Program != nil:
		if found := c.ByHash(e.Program.SHA256); len(found) > 0 {
			e.Program.App, e.Program.Confidence = found[0].App, found[0].Evidence.Strength
			return
		}
		if !stands(c, e.Program.App, e.Evidence) {
			e.Program.App, e.Program.Confidence = "", 0
		}
	}
}

func reconsiderFlow(c *catalog.Catalog, e *event.Event) (app, service string, sure event.Confidence) {
	f := e.Flow
	for _, m := range c.ByName(f.Name) {
		if m.Evidence.Strength > event.Low {
			return m.App, m.Service, max(m.Evidence.Strength, f.Confidence)
		}
	}
	if f.App != "" {
		if stands(c, f.App, e.Evidence) {
			return f.App, f.Service, f.Confidence
		}
		return "", "", 0
	}
	server, err := netip.ParseAddrPort(f.Server)
	if err != nil || f.Name != "" || len(e.Evidence) > 0 {
		return "", "", 0
	}
	for _, m := range c.ByAddress(server.Addr().Unmap()) {
		return m.App, m.Service, min(m.Evidence.Strength, event.Low)
	}
	return "", "", 0
}

// stands reports whether one of the facts that spoke for the app still stands in the catalog.
func stands(c *catalog.Catalog, app string, evidence []event.Evidence) bool {
	known, ok := c.App(app)
	if !ok {
		return false
	}
	facts := known.Facts()
	return slices.ContainsFunc(evidence, func(e event.Evidence) bool {
		return slices.ContainsFunc(facts, func(f catalog.Fact) bool { return strings.HasSuffix(e.Fact, f.Kind+":"+f.Text) })
	})
}

// ObservedDiffers is a line of catalog.diff about an observation of which the other catalog says something else.
type ObservedDiffers struct {
	Type     string     `json:"type"` // always "observation"
	Kind     event.Kind `json:"kind"`
	Time     time.Time  `json:"time"`
	Times    int64      `json:"times"`
	Name     string     `json:"name,omitempty"`
	Server   string     `json:"server,omitempty"`
	Before   string     `json:"before"` // "app verdict"
	After    string     `json:"after"`
	Rule     string     `json:"rule"`
	Stops    bool       `json:"newly_stopped"`
	Observed int64      `json:"observed,omitempty"` // in the last of these lines: how many observations were looked at
}

// Reobserve decides one observation anew by another side, and reports whether that stops it, or stops it no more.
func Reobserve(x *archive.Observed, other *Side) (ObservedDiffers, bool) {
	e := x.Event
	if e.Flow == nil && e.Question == nil {
		return ObservedDiffers{}, false
	}
	before := Answer{App: x.Event.App(), Action: e.Verdict.Action}
	Reconsider(other.Set.Catalog, e)
	now := other.Set.Policy.Redecide(e)
	after := Answer{App: x.Event.App(), Action: now.Action}
	line := ObservedDiffers{Type: "observation", Kind: e.Kind, Time: e.Time, Times: x.Times, Before: before.String(), After: after.String(), Rule: now.Rule,
		Stops: now.Action.Stops() && !before.Action.Stops()}
	if e.Flow != nil {
		line.Name, line.Server = e.Flow.Name, e.Flow.Server
	} else {
		line.Name = e.Question.Name
	}
	return line, line.Stops || before.Action.Stops() && !now.Action.Stops()
}
