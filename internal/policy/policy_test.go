package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// example is the policy of the design, with what it refers to.
const example = `version: 1
mode: {network: monitor, programs: monitor, messages: enforce}
timezone: Europe/Zurich
internal: [example.org]
groups:
  everyone: {people: ["*"], networks: [10.0.0.0/8]}
  sales: {people: [alice@example.org], hosts: [laptop-17]}
rules:
  - {id: exception-42, apps: [whatsapp], groups: [sales], until: 2027-01-31, verdict: allow, reason: "approved by compliance"}
  - {id: office-chat, apps: [xmpp], groups: [everyone], verdict: allow}
  - {id: no-messengers, apps: ["*"], verdict: block, say: "Please use the firm's own chat."}
  - {id: no-foreign-dns, protocols: [dns, dot, doh, doq], verdict: block}
  - {id: sites, names: ["*.example.com"], ports: [80, 443], groups: [everyone], hours: "Mon-Fri 07:00-20:00", verdict: allow}
  - {id: time, names: [ntp.example.com], protocols: [ntp], verdict: allow}
  - {id: sticks, programs: {media: removable}, verdict: block}
  - {id: known-bad, programs: {sha256: ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}, verdict: block}
  - {id: cards, messages: 'leaves_org && hits.exists(h, h.name == "payment-card")', verdict: block, say: "Card numbers may not leave the firm by chat."}
  - {id: venue, messages: 'hits.exists(h, h.name == "change-of-venue")', review: supervision}
  - {id: encrypted, messages: 'not_inspected.exists(n, n.reason == "encrypted")', verdict: block}
otherwise: {network: block, programs: allow, messages: allow, not_inspected: block}
packs: [pii, venue]
patterns: {project-code: {regex: 'PRJ-[0-9]{6}', check: none}}
lexicons: {collusion: {words: ["between us", "delete this"], near: [{terms: [take, offline], within: 3}]}}
decrypt: {names: [files.example.com], never: [banking, health]}
retention: [{id: default, days: 2190, erasable: no}]
tests: [{message: {text: "4111 1111 1111 1111", from: alice@example.org, to: [x@other.org]}, verdict: block, rule: cards}]
`

func known() policy.Known {
	return policy.Known{Apps: []string{"whatsapp", "xmpp", "telegram", "signal", "skype"}, Hits: []string{"payment-card", "change-of-venue"}}
}

func compile(t testing.TB, text string) *policy.Policy {
	t.Helper()
	f, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(f, known())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var monday = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func message(from, to string, hits ...string) *event.Event {
	e := &event.Event{Kind: event.Message, Received: monday, From: event.Party{Handle: from}, To: []event.Party{{Handle: to}}}
	for _, h := range hits {
		e.Hits = append(e.Hits, event.Hit{Inspector: "pattern", Name: h, Count: 1, Confidence: event.High, Spans: []event.Span{{Start: 0, End: 4}}})
	}
	return e
}

func TestDesignExample(t *testing.T) {
	p := compile(t, example)
	v := p.Decide(&policy.Input{Event: message("alice@example.org", "x@other.org", "payment-card"), Now: monday, Final: true})
	if v.Action != event.Block || v.Rule != "cards" || !v.Enforced {
		t.Errorf("card to the outside: %+v", v)
	}
	v = p.Decide(&policy.Input{Event: message("alice@example.org", "bob@example.org", "payment-card", "change-of-venue"), Now: monday, Final: true})
	if v.Action != event.Allow || v.Rule != "otherwise" || fmt.Sprint(v.Obligations) != "[{review venue supervision}]" {
		t.Errorf("card inside: %+v", v)
	}
}

func bigPolicy() string {
	var b strings.Builder
	b.WriteString("version: 1\ninternal: [example.org]\nrules:\n")
	for i := range 48 {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&b, "  - {id: n%d, names: [\"*.site%d.example\", host%d.example], ports: [443], verdict: allow}\n", i, i, i)
		case 1:
			fmt.Fprintf(&b, "  - {id: a%d, addresses: [10.%d.0.0/16], verdict: block}\n", i, i)
		case 2:
			fmt.Fprintf(&b, "  - {id: m%d, rooms: [\"room%d@*\"], messages: 'leaves_org && size(text) > 10', verdict: block}\n", i, i)
		case 3:
			fmt.Fprintf(&b, "  - {id: p%d, programs: {publisher: \"CN=Vendor %d*\"}, verdict: block}\n", i, i)
		}
	}
	b.WriteString("  - {id: cards, messages: 'leaves_org && hits.exists(h, h.name == \"payment-card\")', verdict: block}\n")
	b.WriteString("  - {id: no-messengers, apps: [\"*\"], verdict: block}\n")
	return b.String()
}

func BenchmarkDecide(b *testing.B) {
	p := compile(b, bigPolicy())
	flow := &event.Event{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Proto: "tcp", Client: "10.1.1.1:4000", Server: "149.154.167.50:443", App: "telegram", Name: "web.telegram.org"}}}
	question := &event.Event{Kind: event.DNSQuery, Content: event.Content{Question: &event.Question{Name: "web.telegram.org", App: "telegram", Client: "10.1.1.1"}}}
	for _, bench := range []struct {
		name string
		e    *event.Event
	}{{"flow", flow}, {"question", question}, {"message", message("alice@example.org", "x@other.org")}, {"card", message("alice@example.org", "x@other.org", "payment-card")}} {
		b.Run(bench.name, func(b *testing.B) {
			in := &policy.Input{Event: bench.e, Now: monday, Final: true}
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(in)
			}
		})
	}
}
