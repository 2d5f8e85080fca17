package classify

import (
	"net/netip"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// pair is a client and an address that a DNS answer gave it.
type pair struct{ client, server netip.Addr }

// answer is the name a client asked for before it spoke to an address.
type answer struct {
	name  string
	until time.Time
}

// memory remembers DNS answers. It is bounded: when it is full the older half is forgotten.
type memory struct {
	young, old map[pair]answer
}

const (
	maxAnswers = 1 << 15
	keepAnswer = 2 * time.Hour // clients keep using an address long after its time to live
)

func (m *memory) init() { m.young, m.old = map[pair]answer{}, map[pair]answer{} }

func (m *memory) put(p pair, a answer) {
	if len(m.young) >= maxAnswers {
		m.old, m.young = m.young, map[pair]answer{}
	}
	m.young[p] = a
}

func (m *memory) get(p pair, now time.Time) (string, bool) {
	a, ok := m.young[p]
	if !ok {
		a, ok = m.old[p]
	}
	if !ok || now.After(a.until) {
		return "", false
	}
	return a.name, true
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
			c.memory.put(pair{f.Client.Addr(), addr}, answer{name, f.Last.Add(keepAnswer)})
		}
	}
}

// remembered claims what earlier flows taught: the name that the client asked for, or the app of its socket.
func (c *Classifier) remembered(f *flow.Flow, s *state) {
	if s.ownName || s.decoder == "dns" {
		return
	}
	if name, ok := c.memory.get(pair{f.Client.Addr(), f.Server.Addr()}, f.Last); ok {
		s.name = name
		c.claimName(f, s, rankAnswer, "answer", name)
		return
	}
	if name, ok := c.memory.get(pair{f.Server.Addr(), f.Client.Addr()}, f.Last); ok && f.Middle {
		s.name = name
		c.claimName(f, s, rankAnswer, "answer", name)
		return
	}
	c.bySocket(f, s)
}
