package classify

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Catalog is what a Classifier asks of the catalog of messengers.
type Catalog interface {
	ByName(host string) []catalog.Match
	ByAddress(addr netip.Addr) []catalog.Match
	Traffic() []catalog.TrafficSignature
}

// Finding is what became known of one flow.
type Finding struct {
	Flow      event.Flow
	FirstSeen time.Time
	LastSeen  time.Time
	Evidence  []event.Evidence
	Verdict   event.Verdict
	Evicted   bool // it left the table early, for lack of room
	event     event.Event
}

// Options say where the packets are from and when findings are reported.
type Options struct {
	Capture string                             // name of the capture, "" for an interface
	Live    bool                               // report a messenger as soon as it is known, not at the end of its flow
	Host    func(addr netip.Addr) event.Host   // whose machine an address is; may be nil
	Party   func(h event.Host) (p event.Party) // who is accountable for a machine; may be nil
	Now     func() time.Time                   // gateway time for the rules' hours; nil: the packet's time
	Report  func(f *Finding)                   // takes each finding; it must not keep the pointer
	Policy  policy.Decider                     // may be nil: everything is allowed

	Thresholds *Thresholds // nil: DefaultThresholds
}

// Classifier is a flow.Handler that names messengers.
type Classifier struct {
	catalog    Catalog
	options    Options
	thresholds Thresholds
	signature  map[string][]catalog.TrafficSignature // by decoder
	states     slab[state]
	memory     memory
	sockets    sockets
	said       shared[said]
	texts      shared[string] // names and facts
	verdicts   map[opinion]*verdict
	lessons    shared[lesson]
	pending    Finding
	blank      state // of a flow of which nothing is known yet
}

// New returns a Classifier with an empty memory.
func New(c Catalog, o Options) *Classifier {
	k := &Classifier{catalog: c, options: o, thresholds: DefaultThresholds(), signature: map[string][]catalog.TrafficSignature{}}
	if o.Thresholds != nil {
		k.thresholds = *o.Thresholds
	}
	for _, s := range c.Traffic() {
		k.signature[s.Decoder] = append(k.signature[s.Decoder], s)
	}
	k.memory.init()
	k.sockets.init()
	k.said, k.texts, k.lessons = newShared[said](), newShared[string](), newShared[lesson]()
	k.verdicts = map[opinion]*verdict{}
	return k
}

// rank orders kinds of evidence: a stronger one replaces the app that a weaker one named.
type rank uint8

const (
	rankNone rank = iota
	rankAddress
	rankSocket // another flow of the same socket
	rankAnswer // a DNS answer for the server's address
	rankTraffic
	rankName
)

// Opened is called with the first packet of a flow. What is known of its ends is known before it has said anything: a DNS answer, another
// flow of its socket, or an address.
func (c *Classifier) Opened(f *flow.Flow) {
	s := c.look(f)
	c.remembered(f, s)
	if s.rank == rankNone {
		c.byAddress(f, s)
	}
	if s.app != "" {
		now := *s.said
		now.early = s.app
		s.said = c.said.get(now)
	}
	c.note(f, s)
}

// reconsider forgets what was known early, once the flow speaks for itself. Settled asks for it again, with what was learned.
func (s *state) reconsider() {
	*s = state{verdict: unnamed, said: s.said}
}

// Reset forgets all, for the next capture.
func (c *Classifier) Reset(capture string) {
	c.options.Capture = capture
	c.memory.init()
	c.sockets.init()
}

// Learned is called when decoders found facts.
func (c *Classifier) Learned(f *flow.Flow, facts []decode.Fact) {
	s := c.look(f)
	if s == &c.blank && (len(facts) != 1 || facts[0].Decoder != candidateFact) {
		s = c.stateOf(f)
	}
	for i := range facts {
		c.fact(f, s, &facts[i])
	}
	if own := c.own(f); own != nil {
		s = own
	} else if s == &c.blank {
		f.State = stateCandidate
	}
	c.share(s)
	if c.options.Live && !s.reported && s.rank >= rankTraffic {
		c.report(f, s, false)
	}
}

// Settled is called when decoders will tell no more: what other flows taught is asked last.
func (c *Classifier) Settled(f *flow.Flow) {
	s := c.look(f)
	defer func() { c.note(f, s) }()
	before := s.revised
	if s.rank < rankTraffic {
		c.remembered(f, s)
	}
	if s.rank == rankNone && !s.ownName {
		c.byAddress(f, s)
	}
	s.revised = before // nothing was said before: it is what all that came until now makes of it
	if c.options.Live && !s.reported && s.app != "" {
		c.report(f, s, false)
	}
}

// Closed is called when a flow leaves the table.
func (c *Classifier) Closed(f *flow.Flow, evicted bool) {
	s := c.look(f)
	c.sockets.forget(f)
	if !s.reported && s.rank < rankSocket { // what came later may have taught of it
		c.remembered(f, s)
	}
	if !s.reported || c.phase(f, s) {
		c.report(f, s, evicted)
	}
	c.release(f)
}

// claim gives s an app on the strength of one match, if nothing better names another. Facts for the same app add up.
func (s *state) claim(f *flow.Flow, r rank, app, service string, e event.Evidence) {
	better := r > s.rank || r == s.rank && e.Strength > s.best()
	if app != s.app && !better {
		return
	}
	if app != s.app || s.verdict == unnamed {
		s.named(f, app)
	}
	if service == "" || !better && s.service != "" {
		service = s.service
	}
	if r = max(s.rank, r); service == s.service && r == s.rank && s.has(e) { // nothing new
		return
	}
	s.change()
	s.service, s.rank = service, r
	s.add(e)
}

// named makes app the one that s speaks of. Evidence for another does not speak for it.
func (s *state) named(f *flow.Flow, app string) {
	s.verdict = &verdict{app: app, decided: max(f.Packets, 1)}
	if app == s.said.early { // it was known from the first packet on
		s.decided = 1
	}
	s.revised = f.Settled
}

func (c *Classifier) fact(f *flow.Flow, s *state, fact *decode.Fact) {
	if s.said.decoder == "" && s.said.early != "" {
		s.reconsider()
	}
	own, outer := ownName(fact)
	c.hear(s, fact, own)
	if outer != "" && s.name == "" {
		s.name = *c.texts.get(outer)
	}
	switch fact.Decoder {
	case "dns":
		c.dns(f, s, fact)
		c.traffic(f, s, fact)
		return
	case "tls", "quic", "dtls", "http", "socks":
		c.ownName(f, s, fact, own)
	case "certificate":
		c.certificate(f, s, fact)
	case "xmpp":
		if to := fact.Get("to"); to != "" {
			s.name = to
		}
	}
	c.traffic(f, s, fact)
	if f.ProtoName() == "udp" {
		c.socket(f, s, fact)
	}
}

// ownName returns the host name that a fact carries as the flow's own, or the one that stands in for it.
func ownName(fact *decode.Fact) (own, outer string) {
	switch fact.Decoder {
	case "tls", "quic", "dtls", "http", "socks":
		name := fact.Get("name")
		switch {
		case name == "", isAddress(name):
		case standsIn(name) && offersECH(fact):
			return "", name
		default:
			return name, ""
		}
	}
	return "", ""
}

// ownName matches the host name that a flow itself carries.
func (c *Classifier) ownName(f *flow.Flow, s *state, fact *decode.Fact, name string) {
	if name == "" {
		return
	}
	s.name, s.ownName = *c.texts.get(name), true
	c.claimName(f, s, rankName, fact.Decoder, s.name)
	if fact.Decoder == "tls" || fact.Decoder == "quic" {
		c.remember(f, f.Server.Addr(), s.name)
	}
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// claimName claims the app of a host name. A name that other products share supports a claim and makes none.
func (c *Classifier) claimName(f *flow.Flow, s *state, r rank, how, name string) {
	for _, m := range c.catalog.ByName(name) {
		if m.Evidence.Strength <= event.Low {
			continue
		}
		e := m.Evidence
		e.Fact, e.Value = *c.texts.get(how + " " + e.Fact), name
		switch r {
		case rankAnswer:
			e.Strength = min(e.Strength, event.Medium)
		case rankAddress:
			e.Strength = min(e.Strength, event.Low)
		}
		s.claim(f, r, m.App, m.Service, e)
	}
}

// revised reports a flow once more when another taught what it is after it had been reported.
func (c *Classifier) revised(f *flow.Flow, s *state) {
	c.share(s)
	if c.options.Live && s.reported && s.revised {
		c.report(f, s, false)
	}
}

// certificate matches the names of the server's certificate, when the client named none. A certificate of many customers' names says
// nothing: all that the catalog knows must be of one app, and be the first or a third of them.
func (c *Classifier) certificate(f *flow.Flow, s *state, fact *decode.Fact) {
	if s.ownName {
		return
	}
	app, name, known, first := "", "", 0, false
	for i, a := range fact.Attrs {
		found := c.nameApp(a.Value)
		if found == "" {
			continue
		}
		if app != "" && found != app {
			return
		}
		if app, known = found, known+1; name == "" {
			name, first = a.Value, i == 0
		}
	}
	if first || known > 0 && 3*known >= len(fact.Attrs) {
		s.name, s.ownName = name, true
		c.claimName(f, s, rankName, "certificate", name)
	}
}

// nameApp returns the app that a host name alone claims, or "".
func (c *Classifier) nameApp(name string) string {
	for _, m := range c.catalog.ByName(name) {
		if m.Evidence.Strength > event.Low {
			return m.App
		}
	}
	return ""
}

// traffic matches a fact with the signatures that name its decoder.
func (c *Classifier) traffic(f *flow.Flow, s *state, fact *decode.Fact) {
	for i := range c.signature[fact.Decoder] {
		sig := &c.signature[fact.Decoder][i]
		if sig.Transport != "" && sig.Transport != f.ProtoName() && !(sig.Transport == "quic" && fact.Decoder == "quic") {
			continue
		}
		value, ok := c.holds(f, sig, fact)
		if !ok {
			continue
		}
		s.claim(f, rankTraffic, sig.App, sig.Service, event.Evidence{
			Fact: *c.texts.get("traffic:" + sig.ID), Value: *c.texts.get(value), Strength: sig.Confidence, Source: sig.Source,
		})
	}
}

// holds reports whether all values of a signature are there. Besides the decoder's own, a signature may ask for the server's port
// ("port", a number or a range) and the server's address range ("address": "own" is any range of the app's own).
func (c *Classifier) holds(f *flow.Flow, sig *catalog.TrafficSignature, fact *decode.Fact) (value string, ok bool) {
	value = fact.Decoder
	said := "" // of several values the first key's is the evidence, whatever the order of the map
	for key, want := range sig.Match {
		switch key {
		case "port":
			if !serves(f, want) {
				return "", false
			}
		case "address":
			if !c.addressOf(f.Server.Addr(), sig.App) && !c.addressOf(f.Client.Addr(), sig.App) {
				return "", false
			}
		default:
			if !hasValue(fact, key, want) {
				return "", false
			}
			if said == "" || key < said {
				said, value = key, fact.Decoder+" "+key+"="+want
			}
		}
	}
	return value, true
}

// serves reports whether the port of the serving end is wanted. Who spoke first may be the server where the beginning was not seen, and with
// UDP: then the lower port is the server's, as those that clients are given are high.
func serves(f *flow.Flow, want string) bool {
	client, server := f.Client.Port(), f.Server.Port()
	return portIn(want, server) || (f.Middle || f.ProtoName() == "udp") && client < server && portIn(want, client)
}

func (c *Classifier) addressOf(a netip.Addr, app string) bool {
	return slices.ContainsFunc(c.catalog.ByAddress(a), func(m catalog.Match) bool { return m.App == app })
}

// hasValue reports whether one of the key's values is what is wanted: a whole value, or one with a star before, behind, or both.
func hasValue(fact *decode.Fact, key, want string) bool {
	suffix, before := strings.CutPrefix(want, "*")
	middle, behind := strings.CutSuffix(suffix, "*")
	for _, a := range fact.Attrs {
		if a.Key != key {
			continue
		}
		var ok bool
		switch {
		case before && behind:
			ok = strings.Contains(a.Value, middle)
		case before:
			ok = strings.HasSuffix(a.Value, middle)
		case behind:
			ok = strings.HasPrefix(a.Value, middle)
		default:
			ok = a.Value == want
		}
		if ok {
			return true
		}
	}
	return false
}

// byAddress claims the app to whom the server's address range belongs: low, and only where nothing was decoded.
func (c *Classifier) byAddress(f *flow.Flow, s *state) {
	switch s.said.decoder {
	case "", "tls", "tls-record", "encrypted", "skype-candidate", "stun", "rtp", "rtcp":
	default:
		return
	}
	for _, addr := range []netip.Addr{f.Server.Addr(), f.Client.Addr()} {
		for _, m := range c.catalog.ByAddress(addr) {
			e := m.Evidence
			e.Value, e.Strength = addr.String(), min(e.Strength, event.Low)
			s.claim(f, rankAddress, m.App, m.Service, e)
		}
	}
}
