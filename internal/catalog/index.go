package catalog

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// index finds facts by what was seen. It never changes once built.
type index struct {
	byKey      map[kind]map[string][]fact // every kind but address, publisher, traffic and token
	names      map[string][]fact          // byKey[kindName]
	addresses  map[netip.Prefix][]fact
	bits4      []int             // prefix lengths in use, longest first
	bits6      []int             //
	begin4     prefixes          // of the ranges, by their first 16 bits: most addresses are in none
	begin6     prefixes          //
	publishers map[rdn][]pubFact // by the most telling part of the subject
	tokens     []Token
	traffic    []TrafficSignature
	histories  []HistoryPlace
}

func buildIndex(apps []App) index {
	x := index{byKey: map[kind]map[string][]fact{}, addresses: map[netip.Prefix][]fact{}, publishers: map[rdn][]pubFact{}}
	var tokens []fact
	for i := range apps {
		for _, f := range apps[i].facts() {
			switch f.kind {
			case kindAddress:
				x.addresses[f.address.CIDR.Prefix] = append(x.addresses[f.address.CIDR.Prefix], f)
			case kindPublisher:
				x.addPublisher(f)
			case kindTraffic:
				x.traffic = append(x.traffic, f.signature())
			case kindToken:
				tokens = append(tokens, f)
			case kindInstall: // a place identifies nothing, and nothing looks it up
			case kindHistory:
				x.histories = append(x.histories, HistoryPlace{App: f.app, System: f.system, Path: f.text, Evidence: f.match("").Evidence})
			default:
				if x.byKey[f.kind] == nil {
					x.byKey[f.kind] = map[string][]fact{}
				}
				x.byKey[f.kind][f.key] = append(x.byKey[f.kind][f.key], f)
			}
		}
	}
	x.names = x.byKey[kindName]
	x.bits()
	for _, f := range tokens {
		x.tokens = append(x.tokens, Token{Text: f.text, App: f.app, System: f.system, BareName: f.shared || x.isBare(f.text)})
	}
	return x
}

func (f *fact) signature() TrafficSignature {
	t := f.traffic
	return TrafficSignature{App: f.app, ID: t.ID, Transport: t.Transport, Decoder: t.Decoder, Match: t.Match,
		Service: t.Service, Confidence: f.strength, Source: f.source}
}

func (x *index) bits() {
	for p := range x.addresses {
		if p.Addr().Is4() {
			x.bits4 = append(x.bits4, p.Bits())
			x.begin4.add(p)
		} else {
			x.bits6 = append(x.bits6, p.Bits())
			x.begin6.add(p)
		}
	}
	for _, bits := range []*[]int{&x.bits4, &x.bits6} {
		slices.SortFunc(*bits, func(a, b int) int { return cmp.Compare(b, a) })
		*bits = slices.Compact(*bits)
	}
}

// prefixes is a set of the first 16 bits of addresses.
type prefixes [1 << 10]uint64

// add puts all that begin an address of p into the set.
func (s *prefixes) add(p netip.Prefix) {
	first := int(first16(p.Masked().Addr()))
	for n := first; n < first+1<<max(0, 16-p.Bits()); n++ {
		s[n>>6] |= 1 << (n & 63)
	}
}

func (s *prefixes) has(a netip.Addr) bool {
	n := first16(a)
	return s[n>>6]&(1<<(n&63)) != 0
}

func first16(a netip.Addr) uint16 {
	if a.Is4() {
		b := a.As4()
		return uint16(b[0])<<8 | uint16(b[1])
	}
	b := a.As16()
	return uint16(b[0])<<8 | uint16(b[1])
}

// isBare reports whether a token is only a service name or an address: what browsers, documents and blocklists contain too.
func (x *index) isBare(token string) bool {
	if _, err := netip.ParseAddr(token); err == nil {
		return true
	}
	host := token
	if _, after, ok := strings.Cut(host, "://"); ok {
		host, _, _ = strings.Cut(after, "/")
	}
	return len(x.findName(host)) > 0
}

// findName returns the facts of the longest suffix that covers host. It does not allocate.
func (x *index) findName(host string) []fact {
	if len(host) > 0 && host[len(host)-1] == '.' {
		host = host[:len(host)-1]
	}
	if len(host) == 0 || len(host) > 253 { // RFC 1035, section 2.3.4
		return nil
	}
	var lower [253]byte
	for i := range len(host) {
		c := host[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	name := lower[:len(host)]
	for start := 0; ; {
		if facts := x.names[string(name[start:])]; facts != nil {
			return facts
		}
		dot := slices.Index(name[start:], '.')
		if dot < 0 {
			return nil
		}
		start += dot + 1
	}
}

// NameMatch is the answer of Name: who a host name speaks for, without evidence.
type NameMatch struct {
	App     string
	Service string
	Suffix  string // the fact
	Shared  bool   // other products use the name too

	Strength event.Confidence // of the fact
}

// Name returns the messenger whose suffix covers host most closely. It is for paths that ask for every packet: it never allocates.
func (c *Catalog) Name(host string) (NameMatch, bool) {
	facts := c.findName(host)
	if len(facts) == 0 {
		return NameMatch{}, false
	}
	f := &facts[0]
	return NameMatch{App: f.app, Service: f.service, Suffix: f.text, Shared: f.shared, Strength: f.strength}, true
}

// ByName returns the facts of the longest domain suffix that covers host, on a label boundary.
func (c *Catalog) ByName(host string) []Match { return matches(c.findName(host), host) }

// ByAddress returns the facts of the longest address range that holds addr. Addresses change hands: never above low.
func (c *Catalog) ByAddress(addr netip.Addr) []Match {
	addr = addr.Unmap().WithZone("")
	bits, begin := c.bits6, &c.begin6
	if addr.Is4() {
		bits, begin = c.bits4, &c.begin4
	}
	if !begin.has(addr) {
		return nil
	}
	for _, n := range bits {
		p, err := addr.Prefix(n)
		if err != nil {
			return nil
		}
		if facts := c.addresses[p]; facts != nil {
			return matches(facts, addr.String())
		}
	}
	return nil
}

// ByProduct returns the facts about a product name of a version resource or an MSI. It does not identify without its publisher.
func (c *Catalog) ByProduct(product string) []Match { return c.lookUp(kindProduct, product) }

// ByUpgradeCode returns the facts about an MSI UpgradeCode, with or without braces.
func (c *Catalog) ByUpgradeCode(code string) []Match {
	return matches(c.byKey[kindUpgrade][upgradeKey(code)], code)
}

// ByPackage returns the facts about a package of deb, rpm, snap, flatpak or appimage.
func (c *Catalog) ByPackage(manager, name string) []Match {
	switch kind(manager) {
	case kindDeb, kindRPM, kindSnap, kindFlatpak, kindAppImage:
		return c.lookUp(kind(manager), name)
	}
	return nil
}

// ByBundle returns the facts about a macOS bundle identifier.
func (c *Catalog) ByBundle(id string) []Match { return c.lookUp(kindBundle, id) }

// ByTeam returns the facts about an Apple team identifier. A team that signs other products too does not identify.
func (c *Catalog) ByTeam(id string) []Match { return c.lookUp(kindTeam, id) }

// ByDesktop returns the facts about the id of a desktop file, with or without its extension. It does not identify alone.
func (c *Catalog) ByDesktop(id string) []Match {
	if found := c.lookUp(kindDesktop, id); found != nil {
		return found
	}
	return c.lookUp(kindDesktop, strings.TrimSuffix(id, ".desktop"))
}

// ByHash returns the facts about the hex SHA-256 of a file.
func (c *Catalog) ByHash(sha256hex string) []Match { return c.lookUp(kindHash, sha256hex) }

// ByBuildID returns the facts about the hex build id of an ELF file. It does not identify alone: any program can be given it.
func (c *Catalog) ByBuildID(id string) []Match { return c.lookUp(kindBuildID, id) }

// ByExe returns the facts about the name of an executable: a hint, which renaming removes and any other program may bear.
func (c *Catalog) ByExe(name string) []Match { return c.lookUp(kindExe, name) }

// ByPublisher returns the facts about the subject of a signing certificate, which signed at that moment (zero when it is not known).
// A publisher that signs other products too does not identify, and neither does one outside its time.
func (c *Catalog) ByPublisher(subject string, at time.Time) []Match {
	var out []Match
	c.eachPublisher(subject, func(f *pubFact) {
		m := f.match(subject)
		if !f.publisher.covers(at) {
			m.Identity, m.Evidence.Strength = false, lowOutside
		}
		out = append(out, m)
	})
	return out
}

// ByPublisherProduct returns the facts about a product signed by its publisher, shared or not: the two together identify.
func (c *Catalog) ByPublisherProduct(subject, product string, at time.Time) []Match {
	var out []Match
	c.eachPublisher(subject, func(f *pubFact) {
		if !f.publisher.covers(at) || !slices.ContainsFunc(f.products, func(p string) bool { return strings.EqualFold(p, product) }) {
			return
		}
		m := f.match(subject + " / " + product)
		m.Identity, m.Evidence.Strength = true, exactTogether
		out = append(out, m)
	})
	return out
}

// Tokens returns the strings to look for in executables and packages.
func (c *Catalog) Tokens() []Token { return slices.Clone(c.tokens) }

// ByAppX returns the facts about the name of an MSIX or AppX package identity.
func (c *Catalog) ByAppX(name string) []Match { return c.lookUp(kindAppX, name) }

// ByWebApp returns the facts about the id of a web application in Chromium-based browsers.
func (c *Catalog) ByWebApp(id string) []Match { return c.lookUp(kindWebApp, id) }

// ByJar returns the facts about the main class of a Java archive.
func (c *Catalog) ByJar(class string) []Match { return c.lookUp(kindJar, class) }

// ByPython returns the facts about a Python distribution, whose name is compared as PEP 503 normalizes it.
func (c *Catalog) ByPython(name string) []Match {
	return matches(c.byKey[kindPython][pythonKey(name)], name)
}

// Histories returns where messengers keep what was said, by app and in the order of its file.
func (c *Catalog) Histories() []HistoryPlace { return slices.Clone(c.histories) }

// Traffic returns the signatures for the classifier, by app and in the order of its file.
func (c *Catalog) Traffic() []TrafficSignature { return slices.Clone(c.traffic) }

func (c *Catalog) lookUp(k kind, value string) []Match {
	return matches(c.byKey[k][strings.ToLower(value)], value)
}

func matches(facts []fact, value string) []Match {
	if len(facts) == 0 {
		return nil
	}
	out := make([]Match, len(facts))
	for i := range facts {
		out[i] = facts[i].match(value)
	}
	return out
}

func pythonKey(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-")
}

func upgradeKey(code string) string { return strings.ToLower(strings.Trim(code, "{} ")) }
