package classify

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// socket is one UDP address and port and what its flows said. Interactive Connectivity Establishment (RFC 8445) speaks with servers and
// peers from one socket, so what names one of its flows names the others; classic Skype does the same.
type socket struct {
	app, service string
	fact         string
	strength     event.Confidence
	until        time.Time
	flows        []*flow.Flow

	// what may be classic Skype
	peers  int // whose first datagram fits
	others int // whose does not
	steps  int
	last   uint16
}

// sockets remembers the sockets of UDP flows that had facts. It is bounded as memory is.
type sockets struct {
	young, old map[netip.AddrPort]*socket
	peers      map[pair]bool // hosts and the peers of their classic Skype sockets
}

const (
	maxSockets  = 1 << 13
	maxOnSocket = 256
	maxPeers    = 1 << 15
)

func (s *sockets) init() {
	s.young, s.old = map[netip.AddrPort]*socket{}, map[netip.AddrPort]*socket{}
	s.peers = map[pair]bool{}
}

func (s *sockets) find(a netip.AddrPort) *socket {
	if k := s.young[a]; k != nil {
		return k
	}
	return s.old[a]
}

func (s *sockets) get(a netip.AddrPort) *socket {
	if k := s.find(a); k != nil {
		return k
	}
	if len(s.young) >= maxSockets {
		s.old, s.young = s.young, map[netip.AddrPort]*socket{}
	}
	k := &socket{}
	s.young[a] = k
	return k
}

func (s *sockets) forget(f *flow.Flow) {
	if f.ProtoName() != "udp" {
		return
	}
	for _, a := range []netip.AddrPort{f.Client, f.Server} {
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
	case "stun", "dtls", "rtp", "skype-candidate":
	default:
		return
	}
	for _, end := range []netip.AddrPort{f.Client, f.Server} {
		k := c.sockets.get(end)
		if len(k.flows) < maxOnSocket && !slices.Contains(k.flows, f) {
			k.flows = append(k.flows, f)
		}
		if fact.Decoder == "skype-candidate" && end == f.Client {
			c.skype(f, k, fact)
		}
	}
	if s.rank >= rankTraffic && fact.Decoder == "stun" {
		c.teach(f, s)
	}
}

// teach passes the app of a flow to the sockets at its ends, the caller's and the relay's, and to the other flows that use them.
func (c *Classifier) teach(f *flow.Flow, s *state) {
	for _, end := range []netip.AddrPort{f.Client, f.Server} {
		k := c.sockets.get(end)
		k.app, k.service, k.fact, k.until = s.app, s.service, s.evidence[0].Fact, now(f).Add(c.thresholds.KeepSocket)
		k.strength = event.Medium
		for _, other := range k.flows {
			if o := stateOf(other); other != f && o.rank < rankSocket {
				c.claimSocket(other, o, k, end)
			}
		}
	}
}

func (c *Classifier) claimSocket(f *flow.Flow, s *state, k *socket, end netip.AddrPort) {
	s.claim(f, rankSocket, k.app, k.service, event.Evidence{
		Fact: "socket:" + k.fact, Value: end.String(), Strength: k.strength, Source: "RFC 8445: one socket, one session",
	})
}

func (c *Classifier) bySocket(f *flow.Flow, s *state) {
	if f.ProtoName() == "tcp" {
		c.skypePeer(f, s)
		return
	}
	for _, end := range []netip.AddrPort{f.Client, f.Server} {
		if k := c.sockets.find(end); k != nil && k.app != "" && now(f).Before(k.until) {
			c.claimSocket(f, s, k, end)
			return
		}
	}
}

// skypeFact is the fact that a socket is one of classic Skype's: many peers, and object ids that go up in small steps from datagram to
// datagram.
const skypeFact = "skype-udp"

func (c *Classifier) skype(f *flow.Flow, k *socket, fact *decode.Fact) {
	if !k.skypeLike(&c.thresholds, fact) || k.app != "" && k.fact != skypeFact {
		return
	}
	derived := decode.Fact{Decoder: skypeFact}
	for _, other := range k.flows {
		if o := stateOf(other); o.rank < rankTraffic {
			c.traffic(other, o, &derived)
			if o.app != "" && len(c.sockets.peers) < maxPeers {
				k.app, k.service, k.fact, k.strength, k.until = o.app, o.service, skypeFact, event.Medium, now(f).Add(c.thresholds.KeepSocket)
				c.sockets.peers[pair{f.Client.Addr(), other.Server.Addr()}] = true
				c.sockets.peers[pair{f.Client.Addr(), networkOf(other.Server.Addr())}] = true
			}
		}
	}
}

// skypeLike counts one more peer, and reports whether the socket behaves as classic Skype's.
func (k *socket) skypeLike(t *Thresholds, fact *decode.Fact) bool {
	id, err := strconv.ParseUint(fact.Get("id"), 10, 16)
	if err != nil {
		k.others++
		return false
	}
	if step := uint16(id) - k.last; k.peers > 0 && step > 0 && step < t.SkypeStep {
		k.steps++
	}
	k.last = uint16(id)
	k.peers++
	return k.peers >= t.SkypePeers && float64(k.steps) >= t.SkypeShare*float64(k.peers-1) && float64(k.others) <= t.SkypeMisfit*float64(k.peers)
}

// skypePeer claims a TCP flow to a peer of the same host's classic Skype socket.
func (c *Classifier) skypePeer(f *flow.Flow, s *state) {
	if s.decoder != "" {
		return
	}
	kind := ""
	switch {
	case c.sockets.peers[pair{f.Client.Addr(), f.Server.Addr()}]:
		kind = "host"
	case c.sockets.peers[pair{f.Client.Addr(), networkOf(f.Server.Addr())}]:
		kind = "network"
	default:
		return
	}
	derived := decode.Fact{Decoder: "skype-peer", Attrs: []decode.Attr{{Key: "kind", Value: kind}}}
	c.traffic(f, s, &derived)
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
