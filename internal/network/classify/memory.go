package classify

import (
	"net/netip"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// pair is a client and an address that a DNS answer gave it.
type pair struct{ client, server netip.Addr }

// answer is the name that a client asked for, or used, at an address.
type answer struct {
	name   string // "" when names of different messengers, or of one and of none, were used there
	app    string // whose the name is, be it shared or not
	strong bool   // the name alone claims the app
	until  time.Time
}

// memory remembers DNS answers. It is bounded: when it is full the older half is forgotten.
type memory struct {
	young, old map[pair]answer
}

const maxAnswers = 1 << 15

func (m *memory) init() { m.young, m.old = map[pair]answer{}, map[pair]answer{} }

// put remembers an answer. Where an address serves several apps, a flow without a name may be any of them.
func (m *memory) put(p pair, a answer, now time.Time) {
	if old, ok := m.find(p); ok && now.Before(old.until) {
		switch {
		case old.app != a.app || old.name == "":
			a.name = ""
		case old.strong && !a.strong:
			a.name, a.strong = old.name, true
		}
	}
	if len(m.young) >= maxAnswers {
		m.old, m.young = m.young, map[pair]answer{}
	}
	m.young[p] = a
}

func (m *memory) find(p pair) (answer, bool) {
	a, ok := m.young[p]
	if !ok {
		a, ok = m.old[p]
	}
	return a, ok
}

func (m *memory) get(p pair, now time.Time) (string, bool) {
	a, ok := m.find(p)
	return a.name, ok && a.name != "" && now.Before(a.until)
}

// remember notes that f's client used the name at the address.
func (c *Classifier) remember(f *flow.Flow, addr netip.Addr, name string) {
	a := answer{name: name, until: now(f).Add(c.thresholds.KeepAnswer)}
	for _, m := range c.catalog.ByName(name) {
		a.app, a.strong = m.App, m.Evidence.Strength > event.Low
	}
	c.memory.put(pair{f.Client.Addr(), addr}, a, now(f))
}

// dns claims the app of the question, and remembers the answers.
func (c *Classifier) dns(f *flow.Flow, s *state, fact *decode.Fact) {
	name := fact.Get("name")
	if s.name == "" {
		s.name = name
	}
	c.claimName(f, s, rankName, "dns", name)
	for _, a := range fact.Attrs {
		if a.Key != "answer" {
			continue
		}
		if addr, err := netip.ParseAddr(a.Value); err == nil {
			c.remember(f, addr, name)
		}
	}
}

// remembered claims what earlier flows taught: the name that the client asked for, or the app of its socket.
func (c *Classifier) remembered(f *flow.Flow, s *state) {
	if s.ownName || s.decoder == "dns" {
		return
	}
	if name, ok := c.memory.get(pair{f.Client.Addr(), f.Server.Addr()}, now(f)); ok {
		s.name = name
		c.claimName(f, s, rankAnswer, "answer", name)
		return
	}
	if name, ok := c.memory.get(pair{f.Server.Addr(), f.Client.Addr()}, now(f)); ok && (f.Middle || f.ProtoName() == "udp") {
		s.name = name
		c.claimName(f, s, rankAnswer, "answer", name)
		return
	}
	c.bySocket(f, s)
}

// now is the time of f's last packet; of its first, when that has only just come.
func now(f *flow.Flow) time.Time {
	if f.Last.IsZero() {
		return f.First
	}
	return f.Last
}
