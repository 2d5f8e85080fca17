package rollout

import (
	"net/netip"
	"slices"
	"strings"

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
