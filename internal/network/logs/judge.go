package logs

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Options of a Judge.
type Options struct {
	Source string                                      // as evidence names it: the format
	Policy policy.Decider                              // nil: all is allowed
	Host   func(a netip.Addr, at time.Time) event.Host // nil: the address alone
}

// Judge makes events of the entries of one program's logs: names of a flow serve its later lines, and answers of DNS the flows to them. It is safe
// for concurrent use.
type Judge struct {
	mu        sync.Mutex
	inForce   func() classify.Catalog
	catalog   classify.Catalog // that protocols are of
	o         Options
	answers   memory[pair, string]
	flows     memory[string, named]
	protocols map[string][]catalog.TrafficSignature
}

// Found is what an entry is: an event, and the same as a finding of a flow.
type Found struct {
	Finding classify.Finding
	Event   *event.Event
}

// pair is a client and an address that a name of its led to.
type pair struct{ client, server netip.Addr }

// named is what earlier lines said of a flow.
type named struct{ name, how, ja4, alpn string }

// NewJudge returns a judge that has seen nothing, and names messengers by the catalog that is in force at each moment.
func NewJudge(inForce func() classify.Catalog, o Options) *Judge {
	return &Judge{inForce: inForce, o: o}
}

// renew takes up the catalog in force.
func (j *Judge) renew() {
	now := j.inForce()
	if now == j.catalog {
		return
	}
	j.catalog, j.protocols = now, map[string][]catalog.TrafficSignature{}
	for _, sig := range now.Traffic() {
		if len(sig.Match) == 0 { // the protocol alone says it
			j.protocols[sig.Decoder] = append(j.protocols[sig.Decoder], sig)
		}
	}
}

// claim is the messenger that an entry speaks for.
type claim struct {
	app, service string
	evidence     []event.Evidence
}

func (c *claim) take(app, service string, e event.Evidence, source string) {
	if c.app != "" {
		return
	}
	e.Strength = min(e.Strength, event.Medium) // seen by somebody else
	e.Source = "from a log of " + source + "; " + e.Source
	c.evidence = append(c.evidence, e)
	if e.Strength > event.Low || e.Fact == addressFact {
		c.app, c.service = app, service
	}
}

// Judge names the messenger, asks policy, and returns the event.
func (j *Judge) Judge(e *Entry) Found {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.renew()
	j.learn(e)
	c := j.claim(e)
	out := &event.Event{Kind: event.FlowSeen, Time: e.Time, Received: e.Time, Source: event.SourceCapture, Host: j.host(e)}
	out.From.Person = out.Host.Person
	out.Evidence = c.evidence
	flow := event.Flow{Proto: e.Proto, Client: e.Client.String(), App: c.app, Service: c.service, Name: e.Name, JA4: e.JA4, ALPN: e.ALPN,
		Packets: e.Packets, Bytes: e.Bytes}
	if e.Server.IsValid() {
		flow.Server = e.Server.String()
	}
	if c.app != "" {
		flow.Confidence = c.evidence[len(c.evidence)-1].Strength
	}
	if e.Kind == Question {
		out.Kind = event.DNSQuery
		out.Question = &event.Question{Name: e.Name, Type: e.Type, Answers: e.Answers, App: c.app, Client: e.Client.Addr().String()}
	} else {
		detail := flow
		out.Flow = &detail
	}
	out.Verdict = event.Verdict{Action: event.Allow}
	if j.o.Policy != nil {
		out.Verdict = j.o.Policy.Decide(&policy.Input{Event: out, Now: e.Time, Final: true})
	}
	finding := classify.Finding{Flow: flow, FirstSeen: e.Time, LastSeen: e.Time, Evidence: c.evidence, Verdict: out.Verdict}
	return Found{Event: out, Finding: finding.Of(out)}
}

func (j *Judge) host(e *Entry) event.Host {
	if j.o.Host == nil {
		return event.Host{Address: e.Client.Addr().String()}
	}
	return j.o.Host(e.Client.Addr(), e.Time)
}

// learn remembers what this entry says of others, and tells it what others said of it.
func (j *Judge) learn(e *Entry) {
	for _, a := range e.Answers {
		if e.Name == "" {
			break // an answer to no question takes away no name that is known
		}
		if addr, err := netip.ParseAddr(a); err == nil {
			j.answers.put(pair{e.Client.Addr(), addr.Unmap()}, e.Name)
		}
	}
	if e.Flow == "" || e.Kind == Question {
		return
	}
	if e.Name != "" || e.JA4 != "" {
		j.flows.put(e.Flow, named{e.Name, e.How, e.JA4, e.ALPN})
		return
	}
	if n, ok := j.flows.get(e.Flow); ok {
		e.Name, e.How, e.JA4, e.ALPN = n.name, n.how, n.ja4, n.alpn
	}
}

// addressFact is the evidence of an address range.
const addressFact = "address"

// claim asks, in this order: the name that the flow bore or the question asked for, its protocol, the name that DNS tied to its server, the
// server's address. A name of its own that is no messenger's ends the search.
func (j *Judge) claim(e *Entry) claim {
	var c claim
	if e.Name != "" {
		j.byName(&c, e.How, e.Name, event.Exact)
	}
	if e.Kind == Question || c.app != "" {
		return c
	}
	for protocol := range strings.SplitSeq(e.Protocol, ",") { // Zeek names all that it saw in a flow: xmpp,ssl
		j.byProtocol(&c, e.Proto, protocol)
	}
	if e.Name != "" || !e.Server.IsValid() || e.Protocol == "dns" {
		return c
	}
	if name, ok := j.answers.get(pair{e.Client.Addr(), e.Server.Addr()}); ok {
		e.Name = name
		j.byName(&c, "answer", name, event.Medium)
		return c
	}
	if hides(e.Protocol) {
		for _, m := range j.catalog.ByAddress(e.Server.Addr()) {
			c.take(m.App, m.Service, event.Evidence{Fact: addressFact, Value: e.Server.Addr().String(), Strength: min(m.Evidence.Strength, event.Low), Source: m.Evidence.Source}, j.o.Source)
		}
	}
	return c
}

// hides says whether nothing more can be read of a flow of such protocols.
func hides(protocols string) bool {
	for p := range strings.SplitSeq(protocols, ",") {
		switch p {
		case "", "ssl", "tls", "dtls", "quic", "stun", "failed", "unknown":
		default:
			return false
		}
	}
	return true
}

func (j *Judge) byProtocol(c *claim, transport, protocol string) {
	for _, sig := range j.protocols[protocol] {
		if sig.Transport == "" || sig.Transport == transport {
			c.take(sig.App, sig.Service, event.Evidence{Fact: "traffic:" + sig.ID, Value: protocol, Strength: sig.Confidence, Source: sig.Source}, j.o.Source)
		}
	}
}

func (j *Judge) byName(c *claim, how, name string, most event.Confidence) {
	for _, m := range j.catalog.ByName(name) {
		e := m.Evidence
		e.Fact, e.Value, e.Strength = how+" "+e.Fact, name, min(e.Strength, most)
		c.take(m.App, m.Service, e, j.o.Source)
	}
}

// memory keeps what was put into it last: when it is full the older half is forgotten.
type memory[K comparable, V any] struct{ young, old map[K]V }

const maxMemory = 1 << 15

func (m *memory[K, V]) put(k K, v V) {
	if m.young == nil || len(m.young) >= maxMemory {
		m.old, m.young = m.young, map[K]V{}
	}
	m.young[k] = v
}

func (m *memory[K, V]) get(k K) (V, bool) {
	v, ok := m.young[k]
	if !ok {
		v, ok = m.old[k]
	}
	return v, ok
}
