package classify

import (
	"net/netip"
	"strconv"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// skypeFact is the fact that a socket is one of classic Skype's: many peers, and object ids that go up in small steps from datagram to
// datagram.
const skypeFact = "skype-udp"

// skype notes what a flow of a socket says for, or against, its being classic Skype's.
func (c *Classifier) skype(f *flow.Flow, k *socket, fact *decode.Fact) {
	switch {
	case fact.Decoder == "skype-refusal":
		c.refused(f, k, fact)
		return
	case fact.Decoder != "skype-candidate":
		return
	}
	if k.skypeLike(&c.thresholds, fact) {
		c.isNode(f, k)
	}
}

// refused takes the refusals of two peers that tell one address, which is the socket's own behind a translation, for one that shows an
// end of its flow.
func (c *Classifier) refused(f *flow.Flow, k *socket, fact *decode.Fact) {
	told, err := netip.ParseAddr(fact.Get("address"))
	if err != nil {
		if c.stateOf(f).app == "skype" {
			c.isNode(f, k)
		}
		return
	}
	if k.told != told {
		k.told = told
		return
	}
	agreed := decode.Fact{Decoder: "skype-refusal", Attrs: []decode.Attr{{Key: "kind", Value: "agreed"}}}
	c.traffic(f, c.stateOf(f), &agreed)
	if c.stateOf(f).rank == rankTraffic {
		c.isNode(f, k)
	}
}

// isNode names all flows of a socket, and remembers whose it is and with whom it spoke.
func (c *Classifier) isNode(f *flow.Flow, k *socket) {
	if k.app != "" && k.fact != skypeFact {
		return
	}
	derived := decode.Fact{Decoder: skypeFact}
	until := now(f).Add(c.thresholds.KeepSocket)
	for _, other := range k.flows {
		o := c.stateOf(other)
		if o.rank >= rankTraffic && k.app != "" {
			continue
		}
		c.traffic(other, o, &derived)
		if o.app == "" {
			continue
		}
		c.revised(other, o)
		k.lesson, k.until = c.lessons.get(lesson{o.app, o.service, skypeFact}), flow.MomentOf(until)
		c.sockets.peers.put(pair{f.Client.Addr(), other.Server.Addr()}, true, now(f).Add(c.thresholds.KeepAnswer))
		c.sockets.peers.put(pair{f.Client.Addr(), networkOf(other.Server.Addr())}, true, now(f).Add(c.thresholds.KeepAnswer))
	}
	if k.app != "" {
		c.sockets.nodes.put(f.Client.Addr(), f.Client.Port(), until)
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
	return int(k.peers) >= t.SkypePeers && float64(k.steps) >= t.SkypeShare*float64(k.peers-1) && float64(k.others) <= t.SkypeMisfit*float64(k.peers)
}

// skypePeer claims a TCP flow of a machine that has a classic Skype socket: to a peer of that socket, to the socket's own port, or, weakly,
// to anywhere when it is opaque from its first byte on.
func (c *Classifier) skypePeer(f *flow.Flow, s *state) {
	switch s.said.decoder {
	case "", "encrypted", "tls-record":
	default:
		return
	}
	if c.sockets.nodes.len() == 0 { // nobody runs it
		return
	}
	if _, ok := c.sockets.peers.get(pair{f.Client.Addr(), f.Server.Addr()}, now(f)); ok {
		c.derive(f, s, "skype-peer", "host")
	} else if _, ok := c.sockets.peers.get(pair{f.Client.Addr(), networkOf(f.Server.Addr())}, now(f)); ok {
		c.derive(f, s, "skype-peer", "network")
	}
	if port, ok := c.sockets.nodes.get(f.Server.Addr(), now(f)); ok && port == f.Server.Port() {
		c.derive(f, s, "skype-node", "port")
	}
	if _, ok := c.sockets.nodes.get(f.Client.Addr(), now(f)); ok && s.said.decoder == "encrypted" && s.said.shown == "sides both" {
		c.derive(f, s, "skype-node", "opaque")
	}
}

// derive matches a fact that other flows taught.
func (c *Classifier) derive(f *flow.Flow, s *state, decoder, kind string) {
	c.traffic(f, s, &decode.Fact{Decoder: decoder, Attrs: []decode.Attr{{Key: "kind", Value: kind}}})
}
