package policy

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// tri is the result of a matcher. pending means that its fact may still come, broken that an expression could not be evaluated.
type tri uint8

const (
	unknown tri = iota
	no
	yes
	pending
	broken
)

func (t tri) String() string {
	return [...]string{"unknown", "no", "yes", "pending", "error"}[t]
}

func triOf(b bool) tri {
	if b {
		return yes
	}
	return no
}

// rule is a compiled Rule.
type rule struct {
	id          string
	planes      [planeCount]bool
	action      event.Action // "" when it has only obligations
	say         string
	reason      string
	obligations []event.Obligation
	mode        mode

	until     time.Time
	hours     []span
	groups    []int
	anyApp    bool
	apps      []string
	sure      event.Confidence // apps match from this confidence on
	services  []string
	names     *nameSet
	addresses []netip.Prefix
	ports     []portRange
	protocols []string
	programs  *programs
	rooms     []glob
	exprs     []*expression
}

type programs struct {
	hashes     map[string]struct{}
	media      []string
	publishers []glob
	formats    []string
	forms      []string
	paths      []glob
}

func (r *rule) namesNotInspected() bool {
	return slices.ContainsFunc(r.exprs, func(x *expression) bool { return x.namesNotInspected })
}

// match asks every matcher, the cheap ones first. It returns the result and the matcher that gave it ("" for yes). One no makes no; an
// expression that cannot be evaluated makes broken; else one pending makes pending.
func (r *rule) match(f *facts) (tri, string) {
	result, which := yes, ""
	for _, m := range matchers {
		switch t := m.ask(r, f); t {
		case no:
			return no, m.name
		case pending:
			if result == yes {
				result, which = pending, m.name
			}
		case broken:
			return broken, m.name
		}
	}
	return result, which
}

// matchers are the matchers in the order in which they are asked. A matcher that a rule does not have says yes.
var matchers = [...]struct {
	name string
	ask  func(*rule, *facts) tri
}{
	{"apps", (*rule).matchApps},
	{"service", (*rule).matchService},
	{"names", (*rule).matchNames},
	{"addresses", (*rule).matchAddresses},
	{"ports", (*rule).matchPorts},
	{"protocols", (*rule).matchProtocols},
	{"programs", (*rule).matchPrograms},
	{"rooms", (*rule).matchRooms},
	{"groups", (*rule).matchGroups},
	{"until", (*rule).matchUntil},
	{"hours", (*rule).matchHours},
	{"expression", (*rule).matchExpressions},
}

func (r *rule) matchApps(f *facts) tri {
	switch {
	case !r.anyApp && len(r.apps) == 0:
		return yes
	case f.app == "":
		return f.absent()
	}
	if !r.anyApp && !slices.Contains(r.apps, f.app) {
		return no
	}
	if r.tooWeak(f) {
		return f.absent()
	}
	return yes
}

// tooWeak reports that the messenger was recognised, and not as surely as the rule wants: weak facts inform, and stop nothing.
func (r *rule) tooWeak(f *facts) bool { return f.app != "" && f.sure < r.sure }

// absent is the answer about a fact that is not there: pending while it may still come.
func (f *facts) absent() tri {
	if f.open {
		return pending
	}
	return no
}

func (r *rule) matchService(f *facts) tri {
	switch {
	case len(r.services) == 0:
		return yes
	case f.service == "":
		return f.absent()
	}
	return triOf(slices.Contains(r.services, f.service))
}

func (r *rule) matchNames(f *facts) tri {
	switch {
	case r.names == nil:
		return yes
	case f.name == "":
		return f.absent()
	}
	return triOf(r.names.has(f.name))
}

// ofQuestion answers a matcher that a question to our resolver has no fact for: it holds in an allow rule that has names or apps, and a
// stopping rule with such a matcher never matches a question.
func (r *rule) ofQuestion() tri {
	return triOf(r.action == event.Allow && (r.names != nil || r.anyApp || len(r.apps) > 0))
}

func (r *rule) matchAddresses(f *facts) tri {
	switch {
	case len(r.addresses) == 0:
		return yes
	case f.question:
		return r.ofQuestion()
	case !f.server.IsValid():
		return no
	}
	a := f.server.Addr().Unmap()
	return triOf(slices.ContainsFunc(r.addresses, func(p netip.Prefix) bool { return p.Contains(a) }))
}

func (r *rule) matchPorts(f *facts) tri {
	switch {
	case len(r.ports) == 0:
		return yes
	case f.question:
		return r.ofQuestion()
	}
	port := f.server.Port()
	return triOf(slices.ContainsFunc(r.ports, func(p portRange) bool { return p.low <= port && port <= p.high }))
}

func (r *rule) matchProtocols(f *facts) tri {
	switch {
	case len(r.protocols) == 0:
		return yes
	case f.question:
		return r.ofQuestion()
	}
	for _, p := range r.protocols {
		if p == f.proto || p == f.protocol || p == f.service || p == byPort(f.proto, f.server.Port()) {
			return yes
		}
	}
	if f.protocol == "" {
		return f.absent()
	}
	return no
}

// byPort names the protocol of a port that by itself says what a flow is for.
func byPort(proto string, port uint16) string {
	switch {
	case port == 53:
		return "dns"
	case port == 853 && proto == "tcp":
		return "dot"
	case port == 853 && proto == "udp":
		return "doq"
	case port == 123 && proto == "udp":
		return "ntp"
	}
	return ""
}

func (r *rule) matchPrograms(f *facts) tri {
	m := r.programs
	if m == nil {
		return yes
	}
	e := f.in.Event
	program := e.Program
	if program == nil {
		media := e.Kind == event.MediaIn && len(m.hashes)+len(m.publishers)+len(m.formats)+len(m.forms)+len(m.paths) == 0
		return triOf(media && slices.Contains(m.media, "removable"))
	}
	if len(m.media) > 0 && !slices.Contains(m.media, program.Media) ||
		len(m.formats) > 0 && !slices.Contains(m.formats, program.Format) ||
		len(m.forms) > 0 && !slices.Contains(m.forms, program.Form) ||
		len(m.paths) > 0 && !matchAny(m.paths, program.Path) ||
		len(m.publishers) > 0 && (program.Publisher == "" || !matchAny(m.publishers, program.Publisher)) {
		return no
	}
	if len(m.hashes) > 0 {
		_, ok := m.hashes[program.SHA256]
		return triOf(ok)
	}
	return yes
}

func (r *rule) matchRooms(f *facts) tri {
	if len(r.rooms) == 0 {
		return yes
	}
	return triOf(f.in.Event.Room.Name != "" && matchAny(r.rooms, f.in.Event.Room.Name))
}

func (r *rule) matchGroups(f *facts) tri {
	if len(r.groups) == 0 {
		return yes
	}
	return triOf(slices.ContainsFunc(r.groups, f.inGroup))
}

func (r *rule) matchUntil(f *facts) tri {
	return triOf(r.until.IsZero() || f.now().Before(r.until))
}

func (r *rule) matchHours(f *facts) tri {
	if len(r.hours) == 0 {
		return yes
	}
	now := f.now()
	return triOf(slices.ContainsFunc(r.hours, func(s span) bool { return s.has(now) }))
}

func (r *rule) matchExpressions(f *facts) tri {
	for _, x := range r.exprs {
		f.activation.f = f
		answer, err := x.eval(&f.activation)
		if err != nil {
			return broken
		}
		if !answer {
			return no
		}
	}
	return yes
}

// splitURL takes the host name and, where it is an address, the address and port out of a URL.
func splitURL(s string) (string, netip.AddrPort) {
	u, err := url.Parse(s)
	if err != nil {
		return "", netip.AddrPort{}
	}
	port := uint16(443)
	if u.Scheme == "http" {
		port = 80
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(n)
	}
	addr, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]"))
	if err != nil {
		return hostName(u.Hostname()), netip.AddrPortFrom(netip.Addr{}, port)
	}
	return "", netip.AddrPortFrom(addr, port)
}
