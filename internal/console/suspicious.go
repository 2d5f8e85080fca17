package console

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// What makes an unnamed flow look like a messenger's. None of these names one, and none stops anything: they say where a look is worth while.
const (
	manyPeers   = 20      // addresses that a machine talks to by UDP, none of which has a name
	talkPackets = 500     // of one flow, small ones: as speech has within seconds
	smallPacket = 60      // bytes on average; less is keep-alive
	largePacket = 450     // more is a download
	manyHours   = 4       // in which a machine talks to the same unnamed address
	someBytes   = 4 << 10 // of a TCP flow, so that it was no failed connection
)

// Bounds of the page.
const (
	suspiciousRows = 20_000 // observations that are looked at
	suspicionDays  = 14     // that can be asked for
	shownFlows     = 12     // of one machine
)

// sign is one reason to look, in words with its figures.
type sign struct{ Name, Words string }

// suspect is one machine with unnamed flows that look like a messenger's.
type suspect struct {
	Host  event.Host
	Signs []sign
	Flows []archive.Observed // the largest of those that made the signs
	More  int
	First time.Time
	Last  time.Time
	Bytes int64
}

// suspects groups what no fact names by machine, and keeps the machines that something speaks for: the most signs first, then the most bytes.
func suspects(observed []archive.Observed) []suspect {
	byHost := map[event.Host]*machine{}
	var order []event.Host
	for _, o := range observed {
		f := o.Event.Flow
		if f == nil || f.App != "" {
			continue
		}
		h := event.Host{Name: o.Event.Host.Name, Address: o.Event.Host.Address, Person: o.Event.Host.Person}
		if h.Name == "" && h.Address == "" {
			h.Address = addressOf(f.Client)
		}
		m := byHost[h]
		if m == nil {
			m = &machine{peers: map[string]bool{}, hours: map[string]map[time.Time]bool{}, marked: map[int]bool{}}
			byHost[h] = m
			order = append(order, h)
		}
		m.add(o)
	}
	var out []suspect
	for _, h := range order {
		if s := byHost[h].suspect(); len(s.Signs) > 0 {
			s.Host = h
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(len(b.Signs), len(a.Signs)), cmp.Compare(b.Bytes, a.Bytes))
	})
	return out
}

func addressOf(endpoint string) string {
	if a, err := netip.ParseAddrPort(endpoint); err == nil {
		return a.Addr().String()
	}
	if host, _, err := net.SplitHostPort(endpoint); err == nil { // a pseudonym stands for the address
		return host
	}
	return endpoint
}

// machine gathers the unnamed flows of one machine.
type machine struct {
	flows  []archive.Observed
	peers  map[string]bool               // addresses talked to by UDP
	hours  map[string]map[time.Time]bool // in which an address was talked to
	talk   *archive.Observed             // the largest that looks like speech
	bare   *archive.Observed             // the largest on a port of the web, without a handshake
	odd    *archive.Observed             // the largest elsewhere
	marked map[int]bool                  // the flows that made a sign
}

// outside returns where an unnamed flow went, when that is outside: who has a name is known by it, and what stays inside is no messenger's
// server.
func outside(f *event.Flow) (netip.AddrPort, bool) {
	server, err := netip.ParseAddrPort(f.Server)
	return server, err == nil && f.Name == "" && server.Addr().IsGlobalUnicast() && !server.Addr().IsPrivate()
}

func (m *machine) add(o archive.Observed) {
	f := o.Event.Flow
	server, ok := outside(f)
	if !ok {
		return
	}
	n := len(m.flows)
	m.flows = append(m.flows, o)
	address := server.Addr().String()
	if m.hours[address] == nil {
		m.hours[address] = map[time.Time]bool{}
	}
	m.hours[address][o.Hour()] = true
	if f.Proto == "udp" && server.Port() > 1023 {
		m.peers[address] = true
	}
	switch {
	case speech(f, server.Port()):
		m.talk, m.marked[n] = larger(m.talk, o), true
	case !opaque(f):
	case server.Port() == 443 || server.Port() == 80:
		m.bare, m.marked[n] = larger(m.bare, o), true
	case server.Port() > 1023:
		m.odd, m.marked[n] = larger(m.odd, o), true
	}
}

// speech reports whether a flow has many small packets, as speech does.
func speech(f *event.Flow, port uint16) bool {
	mean := f.Bytes / max(1, f.Packets)
	return f.Proto == "udp" && port > 1023 && f.Packets >= talkPackets && mean >= smallPacket && mean <= largePacket
}

// opaque reports whether a connection that came to something has no handshake that we know.
func opaque(f *event.Flow) bool {
	return f.Proto == "tcp" && f.JA4 == "" && f.ALPN == "" && f.Bytes >= someBytes
}

func larger(a *archive.Observed, b archive.Observed) *archive.Observed {
	if a != nil && a.Event.Flow.Bytes >= b.Event.Flow.Bytes {
		return a
	}
	return &b
}

// suspect says what speaks for the machine. A connection to an odd port alone is nothing: databases and games have them.
func (m *machine) suspect() suspect {
	var s suspect
	add := func(name, format string, args ...any) {
		s.Signs = append(s.Signs, sign{name, fmt.Sprintf(format, args...)})
	}
	peers := len(m.peers) >= manyPeers
	if peers {
		add("peer to peer", "talks by UDP to %d addresses outside, none of which was asked for by name", len(m.peers))
	}
	if m.talk != nil {
		f := m.talk.Event.Flow
		add("like speech", "%d small packets (%d bytes on average) with %s", f.Packets, f.Bytes/max(1, f.Packets), f.Server)
	}
	if m.bare != nil {
		f := m.bare.Event.Flow
		add("no handshake that we know", "%s with %s, a port of the web, and neither TLS nor HTTP in it", size(f.Bytes), f.Server)
	}
	long := ""
	for _, address := range sortedKeys(m.hours) {
		if n := len(m.hours[address]); n >= manyHours && (long == "" || n > len(m.hours[long])) {
			long = address
		}
	}
	if long != "" {
		add("keeps coming back", "the unnamed address %s in %d different hours", long, len(m.hours[long]))
	}
	if m.odd != nil && len(s.Signs) > 0 {
		f := m.odd.Event.Flow
		add("unknown on an odd port", "%s with %s, in no protocol that we know", size(f.Bytes), f.Server)
	}
	if len(s.Signs) > 0 {
		m.show(&s, peers, long)
	}
	return s
}

// show chooses the flows that are shown: those that made the signs, the largest first.
func (m *machine) show(s *suspect, peers bool, long string) {
	for i, o := range m.flows {
		f := o.Event.Flow
		address := addressOf(f.Server)
		if !m.marked[i] && address != long && !(peers && m.peers[address]) {
			continue
		}
		s.Flows = append(s.Flows, o)
		s.Bytes += f.Bytes
		if s.First.IsZero() || o.Event.Time.Before(s.First) {
			s.First = o.Event.Time
		}
		if o.Last.After(s.Last) {
			s.Last = o.Last
		}
	}
	slices.SortStableFunc(s.Flows, func(a, b archive.Observed) int { return cmp.Compare(b.Event.Flow.Bytes, a.Event.Flow.Bytes) })
	s.More = max(0, len(s.Flows)-shownFlows)
	s.Flows = s.Flows[:len(s.Flows)-s.More]
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

type suspiciousData struct {
	Days     int
	Choices  []int
	Suspects []suspect
	Looked   int  // observations
	Partly   bool // there are more
}

func (c *Console) suspicious(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := suspiciousData{Days: 1, Choices: []int{1, 3, 7, suspicionDays}}
	if asked := r.FormValue("days"); asked != "" {
		if d.Days, err = strconv.Atoi(asked); err != nil || d.Days < 1 || d.Days > suspicionDays {
			return "", nil, usageError("Observations are kept for 14 days. Choose a number of days from 1 to 14.")
		}
	}
	f := archive.ObservedFilter{After: c.Clock.Now().Truncate(time.Hour).AddDate(0, 0, -d.Days)}
	var all []archive.Observed
	for page := (archive.Page{Limit: archive.MaxLimit}); ; {
		part, err := v.Observations(r.Context(), f, page)
		if err != nil {
			return "", nil, err
		}
		all = append(all, part.Items...)
		page.Cursor = part.Next
		if d.Partly = page.Cursor != "" && len(all) >= suspiciousRows; page.Cursor == "" || d.Partly {
			break
		}
	}
	d.Looked, d.Suspects = len(all), suspects(all)
	return "suspicious", d, nil
}
