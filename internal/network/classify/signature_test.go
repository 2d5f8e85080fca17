package classify_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// pigeons is a catalog of two messengers that do not exist.
func pigeons(t testing.TB, traffic ...string) *catalog.Catalog {
	t.Helper()
	text := "id: pigeon\nname: Pigeon\nsources: [\"docs.pigeon.example, 2026-11\"]\n" +
		"names:\n  service: [pigeon.example, {suffix: login.bird.example, shared: true}]\n  call: [turn.pigeon.example]\n" +
		"addresses: [{cidr: 198.51.100.0/24}]\n"
	if len(traffic) > 0 {
		text += "traffic:\n"
	}
	for i, s := range traffic {
		text += fmt.Sprintf("  - {id: s%d, %s, source: \"docs.pigeon.example, 2026-11\"}\n", i, s)
	}
	other := "id: raven\nname: Raven\nsources: [\"docs.raven.example, 2026-11\"]\nnames: {service: [raven.example]}\n"
	c, err := catalog.Load(fstest.MapFS{"apps/pigeon.yaml": {Data: []byte(text)}, "apps/raven.yaml": {Data: []byte(other)}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// classified returns what a catalog makes of the packets that write makes, in the order of their ends.
func classified(t testing.TB, c classify.Catalog, limits flow.Limits, write func(w *flowtest.Writer)) []classify.Finding {
	t.Helper()
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, start)
	write(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got []classify.Finding
	k := classify.New(c, classify.Options{Report: func(f *classify.Finding) { got = append(got, *f) }})
	if _, err := flow.ReadCapture(t.Context(), &b, flow.NewTracker(k, limits)); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestSignatures: all values of a signature must hold, for one of a fact's values, with stars at an end, and ports and addresses besides.
func TestSignatures(t *testing.T) {
	request := func(agent string) func(*flowtest.Writer) {
		return func(w *flowtest.Writer) {
			w.TCP(from(1), at("192.0.2.1:80"), flowtest.Chunk{FromClient: true, Data: []byte("GET /bird/coo HTTP/1.1\r\nHost: x.example\r\nUser-Agent: " + agent + "\r\n\r\n")})
		}
	}
	stun := func(server string) func(*flowtest.Writer) {
		return func(w *flowtest.Writer) {
			w.UDP(from(1), at(server), flowtest.STUN(3, flowtest.Attribute{Kind: 0x4abc, Value: []byte("x")}, flowtest.Attribute{Kind: 0x4abd, Value: []byte("y")}))
		}
	}
	for _, c := range []struct {
		name, signature string
		write           func(*flowtest.Writer)
		want            string
	}{
		{"a whole value", `transport: tcp, decoder: http, match: {agent: "Pigeon/1"}, confidence: high`, request("Pigeon/1"), "pigeon"},
		{"another value", `transport: tcp, decoder: http, match: {agent: "Pigeon/1"}, confidence: high`, request("Pigeon/12"), ""},
		{"a beginning", `transport: tcp, decoder: http, match: {agent: "Pigeon/*"}, confidence: high`, request("Pigeon/12"), "pigeon"},
		{"an end", `transport: tcp, decoder: http, match: {agent: "*Pigeon"}, confidence: high`, request("the Pigeon"), "pigeon"},
		{"a middle", `transport: tcp, decoder: http, match: {agent: "*Pigeon*"}, confidence: high`, request("the Pigeon/1"), "pigeon"},
		{"two values", `transport: tcp, decoder: http, match: {agent: "Pigeon/*", path: "/bird/*"}, confidence: high`, request("Pigeon/1"), "pigeon"},
		{"one of two values", `transport: tcp, decoder: http, match: {agent: "Pigeon/*", path: "/fish/*"}, confidence: high`, request("Pigeon/1"), ""},
		{"another transport", `transport: udp, decoder: http, match: {agent: "Pigeon/*"}, confidence: high`, request("Pigeon/1"), ""},
		{"the second of several values", `transport: udp, decoder: stun, match: {vendor: "4abd"}, confidence: high`, stun("192.0.2.1:3478"), "pigeon"},
		{"a port", `transport: udp, decoder: stun, match: {port: "3478"}, confidence: high`, stun("192.0.2.1:3478"), "pigeon"},
		{"a range of ports", `transport: udp, decoder: stun, match: {port: "3470-3480"}, confidence: high`, stun("192.0.2.1:3478"), "pigeon"},
		{"another port", `transport: udp, decoder: stun, match: {port: "3470-3477"}, confidence: high`, stun("192.0.2.1:3478"), ""},
		{"its own address", `transport: udp, decoder: stun, match: {address: own}, confidence: high`, stun("198.51.100.9:3478"), "pigeon"},
		{"another address", `transport: udp, decoder: stun, match: {address: own}, confidence: high`, stun("203.0.113.9:3478"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := classified(t, pigeons(t, c.signature), flow.Limits{}, c.write)
			if len(got) != 1 || got[0].Flow.App != c.want {
				t.Fatalf("%d flows, %q, want %q", len(got), got[0].Flow.App, c.want)
			}
			if c.want != "" && (got[0].Evidence[0].Fact != "traffic:s0" || got[0].Evidence[0].Source == "" || got[0].Flow.Confidence != event.High) {
				t.Errorf("evidence %+v", got[0].Evidence)
			}
		})
	}
}

// TestSharedNamesClaimNothing: a name that other products use too is no messenger.
func TestSharedNamesClaimNothing(t *testing.T) {
	got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
		w.UDP(from(1), resolver, flowtest.Question("login.bird.example"))
		w.UDP(from(2), resolver, flowtest.Question("turn.pigeon.example"))
		w.UDP(from(3), resolver, flowtest.Question("pigeon.example.org"))
	})
	want := []string{"/", "pigeon/call", "/"}
	for i, f := range got {
		if f.Flow.App+"/"+f.Flow.Service != want[i] {
			t.Errorf("%s: %s/%s, want %s", f.Flow.Name, f.Flow.App, f.Flow.Service, want[i])
		}
	}
}

// TestStrongerEvidenceWins: a name outweighs a signature, whichever comes first, and the loser leaves no evidence.
func TestStrongerEvidenceWins(t *testing.T) {
	c := pigeons(t, `transport: tcp, decoder: http, match: {agent: "Pigeon/*"}, confidence: exact`)
	got := classified(t, c, flow.Limits{}, func(w *flowtest.Writer) {
		w.TCP(from(1), at("198.51.100.1:80"), flowtest.Chunk{FromClient: true, Data: []byte("GET / HTTP/1.1\r\nHost: chat.raven.example\r\nUser-Agent: Pigeon/1\r\n\r\n")})
	})
	if f := got[0]; f.Flow.App != "raven" || f.Flow.PacketsToVerdict != 4 {
		t.Errorf("%+v %+v", f.Flow, f.Evidence)
	}
}

// TestCertificateNames: a certificate claims an app when it is its own, not when it is that of many customers.
func TestCertificateNames(t *testing.T) {
	many := func(n int, names ...string) (attrs []decode.Attr) {
		for i := range n {
			attrs = append(attrs, decode.Attr{Key: "name", Value: fmt.Sprintf("customer%d.example", i)})
		}
		for _, name := range names {
			attrs = append(attrs, decode.Attr{Key: "name", Value: name})
		}
		return attrs
	}
	for _, c := range []struct {
		name  string
		attrs []decode.Attr
		want  string
	}{
		{"its own", many(0, "pigeon.example"), "pigeon"},
		{"a third", many(4, "www.pigeon.example", "pigeon.example"), "pigeon"},
		{"one of many", many(9, "pigeon.example"), ""},
		{"the first of many", append(many(0, "pigeon.example"), many(9)...), "pigeon"},
		{"of two apps", many(0, "pigeon.example", "raven.example"), ""},
		{"shared", many(0, "login.bird.example"), ""},
	} {
		var got classify.Finding
		k := classify.New(pigeons(t), classify.Options{Report: func(f *classify.Finding) { got = *f }})
		f := &flow.Flow{Proto: 6, Client: flow.EndOf(from(1)), Server: flow.EndOf(at("192.0.2.1:443")), Last: flow.MomentOf(start), Packets: 6}
		k.Opened(f)
		k.Learned(f, []decode.Fact{{Decoder: "certificate", Attrs: c.attrs}})
		k.Settled(f)
		k.Closed(f, false)
		if got.Flow.App != c.want {
			t.Errorf("%s: %q, want %q", c.name, got.Flow.App, c.want)
		}
	}
}

// TestRevised: a flow that a later one explains says so, and counts what it had shown by then.
func TestRevised(t *testing.T) {
	c := pigeons(t, `transport: udp, decoder: stun, match: {realm: pigeon.example}, service: call, confidence: exact`)
	got := classified(t, c, flow.Limits{Budget: 3}, func(w *flowtest.Writer) {
		for range 5 {
			w.UDP(from(1), at("203.0.113.5:40000"), flowtest.STUN(1))
		}
		w.UDP(at("192.0.2.9:3478"), from(1), flowtest.STUN(0x113, flowtest.Attribute{Kind: 0x14, Value: []byte("pigeon.example")}))
		w.UDP(from(1), at("203.0.113.5:40000"), flowtest.STUN(1))
	})
	found := false
	for _, f := range got {
		if f.Flow.Server == "203.0.113.5:40000" {
			found = true
			if f.Flow.App != "pigeon" || f.Flow.Service != "call" || !f.Flow.Revised || f.Flow.PacketsToVerdict != 5 || f.Flow.Packets != 6 || f.Flow.Confidence != event.Medium {
				t.Errorf("%+v", f.Flow)
			}
		}
	}
	if !found {
		t.Errorf("%d flows", len(got))
	}
}

// TestSocketsAreForgotten: a call names the flows of its socket for a while, not for ever.
func TestSocketsAreForgotten(t *testing.T) {
	c := pigeons(t, `transport: udp, decoder: stun, match: {realm: pigeon.example}, service: call, confidence: exact`)
	got := classified(t, c, flow.Limits{Idle: time.Minute}, func(w *flowtest.Writer) {
		w.UDP(from(1), at("192.0.2.9:3478"), flowtest.STUN(3, flowtest.Attribute{Kind: 0x14, Value: []byte("pigeon.example")}))
		w.Wait(5 * time.Minute)
		w.UDP(from(1), at("203.0.113.5:40000"), flowtest.STUN(1))
		w.Wait(time.Hour)
		w.UDP(from(1), at("203.0.113.6:40000"), flowtest.STUN(1))
	})
	want := map[string]string{"192.0.2.9:3478": "pigeon", "203.0.113.5:40000": "pigeon", "203.0.113.6:40000": ""}
	for _, f := range got {
		if f.Flow.App != want[f.Flow.Server] {
			t.Errorf("%s is %q", f.Flow.Server, f.Flow.App)
		}
	}
}

// TestEvictedFlowsAreReported: a flow that must leave early is reported, and says so.
func TestEvictedFlowsAreReported(t *testing.T) {
	got := classified(t, pigeons(t), flow.Limits{Flows: 4}, func(w *flowtest.Writer) {
		for i := range 10 {
			w.UDP(from(100+i), resolver, flowtest.Question("a.pigeon.example"))
		}
	})
	evicted := 0
	for _, f := range got {
		if f.Evicted {
			evicted++
		}
		if f.Flow.App != "pigeon" {
			t.Errorf("%+v", f.Flow)
		}
	}
	if len(got) != 10 || evicted != 6 {
		t.Errorf("%d flows, %d evicted", len(got), evicted)
	}
}

// TestMemoryIsBounded: an endless stream of answers and calls is forgotten from its beginning.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("200,000 packets")
	}
	c := pigeons(t, `transport: udp, decoder: stun, match: {realm: pigeon.example}, service: call, confidence: exact`)
	last := netip.MustParseAddrPort("203.0.113.77:443")
	got := classified(t, c, flow.Limits{Flows: 100}, func(w *flowtest.Writer) {
		for i := range 100_000 {
			addr := netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
			w.UDP(resolver, from(1000+i%50000), flowtest.Answer("x.pigeon.example", addr))
		}
		w.UDP(from(1), resolver, flowtest.Question("x.pigeon.example"))
		w.UDP(resolver, from(1), flowtest.Answer("x.pigeon.example", last.Addr()))
		w.TCP(from(2), last, flowtest.Chunk{FromClient: true, Data: bytes.Repeat([]byte("\x90\x91"), 50)})
	})
	if f := got[len(got)-1]; f.Flow.Server != last.String() || f.Flow.App != "pigeon" {
		t.Errorf("the newest answer is not known: %+v", f.Flow)
	}
}

// TestEventIsItsOwn: an event made of a finding does not change when the finding is used again.
func TestEventIsItsOwn(t *testing.T) {
	var events []*event.Event
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, start)
	w.UDP(from(1), resolver, flowtest.Question("a.pigeon.example"))
	w.UDP(from(2), resolver, flowtest.Question("a.raven.example"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	k := classify.New(pigeons(t), classify.Options{Report: func(f *classify.Finding) { events = append(events, f.Event()) }})
	if _, err := flow.ReadCapture(t.Context(), &b, flow.NewTracker(k, flow.Limits{})); err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 || events[0].Flow.App != "pigeon" || events[1].Flow.App != "raven" || len(events[0].Evidence) != 1 {
		t.Errorf("%+v", events)
	}
	if _, err := event.Canonical(&events[0].Content); err != nil {
		t.Error(err)
	}
}

func BenchmarkClassify(b *testing.B) {
	cat, err := catalog.Default()
	if err != nil {
		b.Fatal(err)
	}
	var capture bytes.Buffer
	if err := flowtest.WriteDemo(&capture, client, start); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		k := classify.New(cat, classify.Options{Report: func(*classify.Finding) {}})
		if _, err := flow.ReadCapture(b.Context(), bytes.NewReader(capture.Bytes()), flow.NewTracker(k, flow.Limits{})); err != nil {
			b.Fatal(err)
		}
	}
}
