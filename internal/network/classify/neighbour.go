package classify

import (
	"net/netip"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// neighbourFact begins what evidence says of a flow that belongs to another because of its ports.
const neighbourFact = "neighbour:"

// neighbours passes the app of a flow of media to its control packets, or of the control packets to the media: between the same two hosts
// they go to the next higher, odd port (RFC 3550, section 11). Only one end need show that, for a translation may have changed the other; and
// both flows must have said what they are.
func (c *Classifier) neighbours(f *flow.Flow, s *state, decoder string) {
	control := decoder == "rtcp"
	if !control && decoder != "rtp" {
		return
	}
	for _, end := range f.Ends() {
		k := c.sockets.find(neighbourOf(end, control))
		if k == nil {
			continue
		}
		for _, other := range k.flows {
			o := c.stateOf(other)
			switch {
			case other == f || !sameHosts(f, other):
			case s.rank < rankSocket && o.rank >= rankSocket:
				c.claimNeighbour(f, s, o, neighbourOf(end, control))
			case s.rank >= rankSocket && o.rank < rankSocket && o.said.decoder == map[bool]string{true: "rtp", false: "rtcp"}[control]:
				c.claimNeighbour(other, o, s, end)
				c.revised(other, o)
			}
		}
	}
}

// neighbourOf returns the socket of the media whose control packets use end, or the reverse; end itself is of neither when its port does not
// fit.
func neighbourOf(end netip.AddrPort, control bool) netip.AddrPort {
	switch odd := end.Port()%2 == 1; {
	case control && odd:
		return netip.AddrPortFrom(end.Addr(), end.Port()-1)
	case !control && !odd:
		return netip.AddrPortFrom(end.Addr(), end.Port()+1)
	}
	return netip.AddrPort{}
}

func sameHosts(f, g *flow.Flow) bool {
	return f.Client.Addr() == g.Client.Addr() && f.Server.Addr() == g.Server.Addr() ||
		f.Client.Addr() == g.Server.Addr() && f.Server.Addr() == g.Client.Addr()
}

// claimNeighbour claims what the flow knows that uses the socket by: a step weaker than it is known there.
func (c *Classifier) claimNeighbour(f *flow.Flow, s, known *state, by netip.AddrPort) {
	strength := event.Low
	if known.confidence > event.Medium {
		strength = event.Medium
	}
	s.claim(f, rankSocket, known.app, known.service, event.Evidence{
		Fact: *c.texts.get(neighbourFact + factOf(known.evidence[0].Fact)), Value: by.String(), Strength: strength,
		Source: "RFC 3550, section 11: control packets go one port higher than media",
	})
}
