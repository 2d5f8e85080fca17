package classify

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// socket is one UDP address and port and what its flows said. Interactive Connectivity Establishment (RFC 8445) speaks with servers and
// peers from one socket, so what names one of its flows names the others; classic Skype does the same.
type socket struct {
	*lesson             // untaught until one of its flows was named
	until   flow.Moment // the lesson is worth something
	flows   []*flow.Flow
	busy    bool // several were heard

	// what may be classic Skype
	last   uint16
	peers  int32 // whose first datagram fits
	others int32 // whose does not
	steps  int32
	told   netip.Addr // the address of its own that a peer's refusal told
}

// lesson is what one flow of a socket teaches of the others. It is shared by the sockets that were taught the same, and never changed.
type lesson struct{ app, service, fact string }

var untaught = &lesson{}

// sockets remembers the sockets of UDP flows that had facts. It is bounded as memory is.
type sockets struct {
	first sightings
	fresh tier                       // that had one flow
	busy  tier                       // that had more
	peers recent[pair, bool]         // hosts and the peers of their classic Skype sockets
	nodes recent[netip.Addr, uint16] // the ports of those sockets
}

const (
	maxSockets  = 1 << 13
	maxOnSocket = 256
	maxPeers    = 1 << 15
	maxNodes    = 1 << 12
)

func (s *sockets) init() {
	s.fresh, s.busy = newTier(), newTier()
	s.peers, s.nodes = newRecent[pair, bool](maxPeers), newRecent[netip.Addr, uint16](maxNodes)
}

func (s *sockets) forget(f *flow.Flow) {
	if f.ProtoName() != "udp" {
		return
	}
	for _, a := range f.Ends() {
		s.first.forget(a, f)
		if k := s.find(a); k != nil {
			if i := slices.Index(k.flows, f); i >= 0 {
				k.flows = slices.Delete(k.flows, i, i+1)
			}
		}
	}
}

// socket notes a fact of a UDP flow for the sockets at its ends.
func (c *Classifier) socket(f *flow.Flow, s *state, fact *decode.Fact) {
	switch fact.Decoder {
	case "stun", "dtls", "rtp", "rtcp", "skype-candidate", "skype-refusal":
	case "sip":
		c.described(f, s, fact)
		return
	default:
		return
	}
	for _, end := range f.Ends() {
		k := c.sockets.seen(end, f, fact)
		if k == nil {
			continue
		}
		if len(k.flows) < maxOnSocket && !slices.Contains(k.flows, f) {
			k.flows = append(k.flows, f)
		}
		c.sockets.used(end, k)
		if end == f.Client.AddrPort() {
			c.skype(f, k, fact)
		}
	}
	switch fact.Decoder {
	case "stun":
		c.session(f, s, fact)
	case "rtp", "rtcp":
		c.neighbours(f, s, fact.Decoder)
	}
}

// session passes on what a flow with STUN teaches: its app to both of its ends, to the address that its relay gives it, and to the peers
// for whom it asks. A check between peers passes on what its own socket knows: the peer is of the same call.
func (c *Classifier) session(f *flow.Flow, s *state, fact *decode.Fact) {
	peer := fact.Get("ice") != ""
	if s.rank == rankNone && peer {
		c.bySocket(f, s)
	}
	if s.rank >= rankTraffic || s.rank == rankSocket && peer {
		c.teach(f, s, f.Client.AddrPort())
		c.teach(f, s, f.Server.AddrPort())
	}
	if s.rank < rankTraffic {
		return
	}
	for _, a := range fact.Attrs {
		if a.Key != "relayed" && a.Key != "peer" {
			continue
		}
		if end, err := netip.ParseAddrPort(a.Value); err == nil {
			c.teach(f, s, end)
		}
	}
}

// described names the flows to and from where a session description wants its media, and the control packets of it one port higher (RFC 3550,
// section 11).
func (c *Classifier) described(f *flow.Flow, s *state, fact *decode.Fact) {
	for _, a := range fact.Attrs {
		if a.Key != "media" || s.rank < rankTraffic {
			continue
		}
		if end, err := netip.ParseAddrPort(a.Value); err == nil {
			call, as := *s, *s.verdict
			call.verdict, as.service, as.common = &as, "call", false
			c.teach(f, &call, end)
			c.teach(f, &call, netip.AddrPortFrom(end.Addr(), end.Port()+1))
		}
	}
}

// teach passes the app of a flow to a socket, and to the other flows that use it.
func (c *Classifier) teach(f *flow.Flow, s *state, end netip.AddrPort) {
	k := c.sockets.get(end)
	if k.app == s.app && s.rank < rankTraffic { // nothing new, and not at first hand
		return
	}
	k.lesson = c.lessons.get(lesson{s.app, s.service, factOf(s.evidence[0].Fact)})
	k.until = flow.MomentOf(now(f).Add(c.thresholds.KeepSocket))
	for _, other := range k.flows {
		if o := c.stateOf(other); other != f && o.rank < rankSocket {
			c.claimSocket(other, o, k, end)
			c.neighbours(other, o, o.said.decoder)
			c.revised(other, o)
		}
	}
}

// factOf returns what evidence rests on, without how another flow passed it on.
func factOf(fact string) string {
	return strings.TrimPrefix(strings.TrimPrefix(fact, "socket:"), neighbourFact)
}

func (c *Classifier) claimSocket(f *flow.Flow, s *state, k *socket, end netip.AddrPort) {
	s.claim(f, rankSocket, k.app, k.service, event.Evidence{
		Fact: *c.texts.get("socket:" + k.fact), Value: end.String(), Strength: event.Medium, Source: "RFC 8445: one socket, one session",
	})
}

func (c *Classifier) bySocket(f *flow.Flow, s *state) {
	if f.ProtoName() == "tcp" {
		c.skypePeer(f, s)
		return
	}
	if f.Server.Port() == 53 || f.Client.Port() == 53 {
		return
	}
	for _, end := range f.Ends() {
		if k := c.sockets.find(end); k != nil && k.app != "" && now(f).Before(k.until.Time()) {
			c.claimSocket(f, s, k, end)
			return
		}
	}
	c.neighbours(f, s, s.said.decoder)
}

// networkOf returns the first address of a's /24, or of its /48, where a service's machines stand side by side.
func networkOf(a netip.Addr) netip.Addr {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return a
	}
	return p.Addr()
}
