package classify

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"strings"
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

// memory remembers DNS answers. It is bounded: when it is full the older half is forgotten. A pair is known by 64 bits of a keyed hash, which
// nobody can choose pairs for; that two of those that are kept have the same is a matter of one in a billion.
type memory struct {
	keys       [6]uint64
	young, old map[uint64]record
	apps       []string // that answers speak of, by number
	numbers    map[string]uint16
}

// record is an answer as it is kept: there may be as many as flows.
type record struct {
	name   string
	until  uint32 // seconds since 1970
	app    uint16
	strong bool
}

const (
	maxAnswers = 1 << 15
	maxApps    = 1<<16 - 1
)

func (m *memory) init() {
	for i := range m.keys {
		m.keys[i] = rand.Uint64()
	}
	m.young, m.old = map[uint64]record{}, map[uint64]record{}
	m.apps, m.numbers = nil, map[string]uint16{}
}

func (m *memory) key(p pair) uint64 {
	client, server := p.client.As16(), p.server.As16()
	of := func(a *[16]byte, k int) uint64 {
		return fold(binary.LittleEndian.Uint64(a[:])^m.keys[k], binary.LittleEndian.Uint64(a[8:])^m.keys[k+1])
	}
	kinds := uint64(p.client.BitLen()<<8 | p.server.BitLen())
	return fold(of(&client, 0)^m.keys[4]^kinds, of(&server, 2)^m.keys[5])
}

// fold multiplies to 128 bits and adds the halves without carry.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// number returns the number of an app. A catalog that changes so often that they run out costs what was remembered.
func (m *memory) number(app string) uint16 {
	n, ok := m.numbers[app]
	if ok {
		return n
	}
	if len(m.apps) >= maxApps {
		m.init()
	}
	n = uint16(len(m.apps))
	m.apps, m.numbers[app] = append(m.apps, app), n
	return n
}

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
	app := m.number(a.app)
	if len(m.young) >= maxAnswers {
		m.old, m.young = m.young, map[uint64]record{}
	}
	until := min(max(a.until.Unix()+1, 0), math.MaxUint32)
	m.young[m.key(p)] = record{a.name, uint32(until), app, a.strong}
}

func (m *memory) find(p pair) (answer, bool) {
	key := m.key(p)
	r, ok := m.young[key]
	if !ok {
		r, ok = m.old[key]
	}
	if !ok {
		return answer{}, false
	}
	return answer{r.name, m.apps[r.app], r.strong, time.Unix(int64(r.until), 0).UTC()}, true
}

func (m *memory) get(p pair, now time.Time) (string, bool) {
	a, ok := m.find(p)
	return a.name, ok && a.name != "" && now.Before(a.until)
}

// remember notes that f's client used the name at the address. A machine that asks by IPv4 where to go by IPv6 is not known by the address
// that it asked from: then the answer is for everybody, and weak.
func (c *Classifier) remember(f *flow.Flow, addr netip.Addr, name string) {
	a := answer{name: name, until: now(f).Add(c.thresholds.KeepAnswer)}
	for _, m := range c.catalog.ByName(name) {
		a.app, a.strong = m.App, m.Evidence.Strength > event.Low
	}
	client := f.Client.Addr()
	if f.Client.Port() == 53 { // only the answer was seen
		client = f.Server.Addr()
	}
	if addr.Is4() != client.Is4() {
		client = netip.Addr{}
	}
	c.memory.put(pair{client, addr}, a, now(f))
}

// dns claims the app of the question, and remembers the answers.
func (c *Classifier) dns(f *flow.Flow, s *state, fact *decode.Fact) {
	name := *c.texts.get(fact.Get("name"))
	if s.name == "" {
		s.name = name
	}
	known := name
	if c.claimName(f, s, rankName, "dns", name); s.app == "" {
		known = c.otherNames(f, s, fact, name)
	}
	for _, a := range fact.Attrs {
		if a.Key != "answer" {
			continue
		}
		if addr, err := netip.ParseAddr(a.Value); err == nil {
			c.remember(f, addr, known)
		}
	}
}

// otherNames claims the app of what else the question is called, and returns that name: without the suffix that a resolver of a small
// network tries in vain, or the alias that answers it.
func (c *Classifier) otherNames(f *flow.Flow, s *state, fact *decode.Fact, name string) string {
	for _, suffix := range []string{".lan", ".local", ".localdomain", ".home", ".home.arpa", ".internal", ".fritz.box"} {
		if plain, ok := strings.CutSuffix(name, suffix); ok && c.nameApp(plain) != "" {
			c.claimName(f, s, rankName, "dns", plain)
			return plain
		}
	}
	for _, a := range fact.Attrs {
		if a.Key == "alias" && c.nameApp(a.Value) != "" {
			c.claimName(f, s, rankAnswer, "dns alias", a.Value)
			return a.Value
		}
	}
	return name
}

// remembered claims what earlier flows taught: the name that the client asked for, or the app of its socket.
func (c *Classifier) remembered(f *flow.Flow, s *state) {
	if s.ownName || s.said.decoder == "dns" {
		return
	}
	if c.answered(f, s, f.Client.Addr(), f.Server.Addr()) {
		return
	}
	if (f.Middle || f.ProtoName() == "udp") && c.answered(f, s, f.Server.Addr(), f.Client.Addr()) {
		return
	}
	c.bySocket(f, s)
}

// answered claims the name by which the client knows the server.
func (c *Classifier) answered(f *flow.Flow, s *state, client, server netip.Addr) bool {
	if a, asked := c.memory.find(pair{client, server}); asked {
		if a.name == "" || !now(f).Before(a.until) {
			return false
		}
		s.name = a.name
		c.claimName(f, s, rankAnswer, "answer", a.name)
		return true
	}
	name, ok := c.memory.get(pair{netip.Addr{}, server}, now(f))
	if !ok {
		return false
	}
	s.name = name
	c.claimName(f, s, rankAddress, "answer", name)
	return s.app != ""
}

// now is the time of f's last packet; of its first, when that has only just come.
func now(f *flow.Flow) time.Time {
	if f.Last == 0 {
		return f.First()
	}
	return f.Last.Time()
}
