package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// query is one question under way.
type query struct {
	msg    *wire.Msg // as the client sent it
	opt    *wire.OPT // its EDNS record, nil for none
	name   string    // lower case, without the last dot
	client netip.Addr
	event  *event.Event // what will be recorded or observed, with the verdict on the question itself
	key    cacheKey
}

// begin answers a packet as far as that needs no network. Without a reply, a query that it returns has taken a slot: finish answers it, and
// release gives the slot back. Without both, the packet deserves no answer.
func (r *Resolver) begin(packet []byte, client netip.Addr) (*wire.Msg, *query) {
	r.stats.questions.Add(1)
	if !r.admits(client) {
		r.stats.refused.Add(1)
		return headerReply(packet, wire.RcodeRefused), nil
	}
	q, reply := parse(packet, client)
	if q == nil {
		r.stats.malformed.Add(1)
		return reply, nil
	}
	q.event = r.judge(q, q.name, "")
	if reply := r.known(q); reply != nil {
		return reply, q
	}
	select {
	case r.slots <- struct{}{}:
		return nil, q
	default:
		r.stats.overload.Add(1)
		r.keeper.note(q.event)
		return q.failure(wire.ExtendedErrorCodeNotReady, "the resolver is busy"), q
	}
}

// known answers by policy, configuration or cache; nil when upstream must be asked.
func (r *Resolver) known(q *query) *wire.Msg {
	switch v := &q.event.Verdict; {
	case v.Action == event.Pending:
		return q.failure(wire.ExtendedErrorCodeOther, "policy gave no verdict")
	case v.Action.Stops() && v.Enforced:
		r.stats.stopped.Add(1)
		r.keeper.note(q.event)
		return r.stop(q, v.Say)
	}
	if reply := r.local(q); reply != nil {
		r.keeper.note(q.event)
		return reply
	}
	if stored := r.cache.get(q.key, r.dep.Clock.Now()); stored != nil {
		r.stats.cached.Add(1)
		return r.settle(q, stored)
	}
	return nil
}

func (r *Resolver) release() { <-r.slots }

func (r *Resolver) admits(client netip.Addr) bool {
	if len(r.cfg.Clients) > 0 && !slices.ContainsFunc(r.cfg.Clients, func(p netip.Prefix) bool { return p.Contains(client) }) {
		return false
	}
	return r.limiter.allow(client, r.dep.Clock.Now())
}

// finish asks upstream.
func (r *Resolver) finish(ctx context.Context, q *query) *wire.Msg {
	asked, err := r.forward(ctx, q)
	if err != nil {
		r.stats.failed.Add(1)
		r.keeper.note(q.event)
		return q.failure(reasonCode(err), "no upstream resolver answered")
	}
	return r.settle(q, asked)
}

// settle turns an answer of upstream or cache into the client's, unless an alias in it is stopped or it points inside.
func (r *Resolver) settle(q *query, a *stored) *wire.Msg {
	q.event.Question.Answers = addresses(a.msg)
	for _, alias := range aliases(a.msg) {
		e := r.judge(q, alias, q.name)
		// "otherwise" says nothing about an alias: the name that was asked for has its own verdict.
		if !e.Verdict.Action.Stops() || e.Verdict.Rule == policy.OtherwiseRule {
			continue
		}
		e.Question.Answers = q.event.Question.Answers
		r.keeper.note(e)
		if e.Verdict.Enforced {
			r.stats.stopped.Add(1)
			return r.stop(q, e.Verdict.Say)
		}
	}
	if r.cfg.Rebind && r.pointsInside(q.name, a.msg) {
		r.stats.stopped.Add(1)
		q.event.Verdict = event.Verdict{Action: event.Block, Rule: "rebind-protection", Enforced: true, Policy: q.event.Verdict.Policy,
			Reason: "the answer points a public name into a private network"}
		r.keeper.note(q.event)
		return r.stop(q, "The answer points into a private network (rebind protection).")
	}
	r.stats.answered.Add(1)
	r.keeper.note(q.event)
	return q.reply(a, r.dep.Clock.Now())
}

// judge asks policy about a name; asked is the client's own question when the name is an alias in its answer.
func (r *Resolver) judge(q *query, name, asked string) *event.Event {
	now := r.dep.Clock.Now()
	client := q.client.String()
	both := &struct { // one allocation: this is done for every question
		event    event.Event
		question event.Question
	}{question: event.Question{Name: name, Type: typeName(q.msg.Question[0].Qtype), Client: client}}
	e := &both.event
	e.Kind, e.Time, e.Received, e.Connector, e.Host.Address, e.Question = event.DNSQuery, now, now, r.cfg.Connector, client, &both.question
	if r.dep.Directory != nil {
		e.Host = r.dep.Directory.Host("", client, now)
		e.From.Person = e.Host.Person
	}
	if asked != "" {
		e.Facts = []event.Fact{{Name: "alias of", Value: asked}}
	}
	r.dep.Judge(e, now)
	return e
}

// Recognise names the messenger whose name is asked for, with the evidence.
func Recognise(c *catalog.Catalog, e *event.Event) {
	e.Evidence, e.Question.App = nil, ""
	found := c.ByName(e.Question.Name)
	if len(found) > 0 {
		e.Evidence = make([]event.Evidence, 0, len(found))
	}
	for i := range found {
		m := &found[i]
		e.Evidence = append(e.Evidence, m.Evidence)
		if m.Evidence.Strength > event.Low && e.Question.App == "" {
			e.Question.App = m.App // a name that others use too is evidence, and names nobody
		}
	}
}

// local answers what needs nobody: rewrites, and the signals by which browsers ask whether they may go around us.
func (r *Resolver) local(q *query) *wire.Msg {
	if addr, ok := r.rewrite[q.name]; ok {
		q.event.Question.Answers = []string{addr.String()}
		return q.fixed(addr, r.cfg.StopTTL)
	}
	switch q.name {
	case "use-application-dns.net": // the canary: Firefox turns its own DNS over HTTPS off
		return q.negative(wire.RcodeNameError, r.cfg.StopTTL)
	case "mask.icloud.com", "mask-h2.icloud.com": // iCloud Private Relay turns itself off for this network
		return q.negative(wire.RcodeNameError, r.cfg.StopTTL)
	}
	return nil
}

// stop answers a stopped question with the policy's words.
func (r *Resolver) stop(q *query, say string) *wire.Msg {
	var m *wire.Msg
	switch r.cfg.Answer {
	case Refused:
		m = q.empty(wire.RcodeRefused)
	case Null:
		null := netip.IPv4Unspecified()
		if q.msg.Question[0].Qtype == wire.TypeAAAA {
			null = netip.IPv6Unspecified()
		}
		m = q.fixed(null, r.cfg.StopTTL)
	default:
		m = q.negative(wire.RcodeNameError, r.cfg.StopTTL)
	}
	q.explain(m, wire.ExtendedErrorCodeBlocked, say)
	return m
}

// pointsInside reports whether a public name's answer holds an address of a private network.
func (r *Resolver) pointsInside(name string, m *wire.Msg) bool {
	if slices.ContainsFunc(r.internal, func(suffix string) bool { return name == suffix || strings.HasSuffix(name, "."+suffix) }) {
		return false
	}
	for _, rr := range m.Answer {
		addr, ok := addressOf(rr)
		if ok && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || carrierNAT.Contains(addr)) {
			return true
		}
	}
	return false
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func addressOf(rr wire.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *wire.A:
		return netip.AddrFromSlice(rr.A.To4())
	case *wire.AAAA:
		addr, ok := netip.AddrFromSlice(rr.AAAA)
		return addr.Unmap(), ok
	}
	return netip.Addr{}, false
}

// Bounds of what one answer may make us look at and keep.
const (
	maxAliases = 16
	maxKept    = 16
)

// aliases returns the names to which an answer leads: CNAME, DNAME, and the targets of SVCB and HTTPS (RFC 9460).
func aliases(m *wire.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		target := ""
		switch rr := rr.(type) {
		case *wire.CNAME:
			target = rr.Target
		case *wire.DNAME:
			target = rr.Target
		case *wire.HTTPS:
			target = rr.Target
		case *wire.SVCB:
			target = rr.Target
		}
		if name := foldName(target); name != "" && len(out) < maxAliases {
			out = append(out, name)
		}
	}
	return out
}

// addresses returns the addresses of an answer, for the record and for tying flows to names.
func addresses(m *wire.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		if addr, ok := addressOf(rr); ok && len(out) < maxKept {
			out = append(out, addr.String())
		}
	}
	return out
}

// foldName makes names equal that are: lower case, without the last dot.
func foldName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func typeName(t uint16) string {
	if name, ok := wire.TypeToString[t]; ok {
		return name
	}
	return wire.Type(t).String()
}

// ttl makes whole seconds of d.
func ttl(d time.Duration) uint32 { return uint32(max(d/time.Second, 1)) }
