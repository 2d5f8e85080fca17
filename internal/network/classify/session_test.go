package classify_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// birdCalls is a catalog with a messenger that calls over TURN and one whose calls are described by SIP.
func birdCalls(t testing.TB) *catalog.Catalog {
	return pigeons(t, `transport: udp, decoder: stun, match: {realm: pigeon.example}, service: call, confidence: exact`,
		`transport: udp, decoder: sip, confidence: exact`)
}

// sealed is n bytes that look encrypted.
func sealed(n int, seed uint64) []byte {
	r, b := rand.New(rand.NewPCG(seed, 1)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// answerWith makes the answer to a question for an alias and its addresses.
func answerWith(t testing.TB, name, alias string, addrs ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name+".", dns.TypeA)
	m.Response = true
	text := []string{}
	owner := name
	if alias != "" {
		text, owner = append(text, name+". 60 IN CNAME "+alias+"."), alias
	}
	for _, a := range addrs {
		kind := "A"
		if netip.MustParseAddr(a).Is6() {
			kind = "AAAA"
		}
		text = append(text, fmt.Sprintf("%s. 60 IN %s %s", owner, kind, a))
	}
	for _, line := range text {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKnownAtTheFirstPacket: an address that an answer, a range or a socket told of has its verdict before the flow says anything, and
// keeps it when it says nothing else.
func TestKnownAtTheFirstPacket(t *testing.T) {
	got := classified(t, birdCalls(t), flow.Limits{}, func(w *flowtest.Writer) {
		asks(w, from(1), "chat.pigeon.example", "203.0.113.10")
		w.TCP(from(2), at("203.0.113.10:443"), opaque())
		w.TCP(from(3), at("198.51.100.9:443"), opaque())
		w.UDP(at("192.0.2.9:3478"), from(4), flowtest.STUN(0x113, flowtest.Attribute{Kind: 0x14, Value: []byte("pigeon.example")}))
		for n := range uint16(6) {
			w.UDP(from(4), at("203.0.113.77:5000"), flowtest.RTP(111, n))
		}
	})
	for _, c := range []struct {
		client int
		server string
		sure   event.Confidence
	}{{2, "203.0.113.10:443", event.Medium}, {3, "198.51.100.9:443", event.Low}, {4, "203.0.113.77:5000", event.Medium}} {
		f := byEnds(t, got, from(c.client), at(c.server)).Flow
		if f.App != "pigeon" || f.PacketsToVerdict != 1 || f.Revised || f.Confidence != c.sure {
			t.Errorf("%d: %+v", c.client, f)
		}
	}
}

// TestIndependentFactsCombine: facts of different kinds add up, those of one kind do not, and two weak ones stay weak.
func TestIndependentFactsCombine(t *testing.T) {
	c := pigeons(t, `transport: tcp, decoder: http, match: {agent: "Pigeon/*"}, confidence: medium`,
		`transport: tcp, decoder: http, match: {path: "/coo"}, confidence: medium`, `transport: tcp, decoder: http, match: {method: GET, port: "81"}, confidence: low`)
	get := func(path, agent, host string) flowtest.Chunk {
		return flowtest.Chunk{FromClient: true, Data: []byte("GET " + path + " HTTP/1.1\r\n" + host + "User-Agent: " + agent + "\r\n\r\n")}
	}
	for _, x := range []struct {
		name, server string
		said         flowtest.Chunk
		want         event.Confidence
		facts        int
	}{
		{"one", "203.0.113.1:80", get("/", "Pigeon/1", ""), event.Medium, 1},
		{"two of one kind", "203.0.113.1:80", get("/coo", "Pigeon/1", ""), event.Medium, 2},
		{"a name and a header", "203.0.113.1:80", get("/", "Pigeon/1", "Host: pigeon.example\r\n"), 990, 2},
		{"weak", "203.0.113.1:81", get("/", "x", ""), event.Low, 1},
	} {
		got := classified(t, c, flow.Limits{}, func(w *flowtest.Writer) { w.TCP(from(1), at(x.server), x.said) })
		if f := got[0]; f.Flow.App != "pigeon" || f.Flow.Confidence != x.want || len(f.Evidence) != x.facts {
			t.Errorf("%s: %+v by %v", x.name, f.Flow, f.Evidence)
		}
	}
}

// TestAnswersByAnotherFamily: who asks by IPv4 where to go by IPv6 is known there by another address: a weak fact for everybody, unless
// the address is known to its client by its own question.
func TestAnswersByAnotherFamily(t *testing.T) {
	six, edge := at("[2001:db8::7]:50000"), at("[2001:db8:1::9]:443")
	for _, c := range []struct {
		name, want string
		also       func(w *flowtest.Writer)
	}{
		{"once", "pigeon", func(*flowtest.Writer) {}},
		{"and for a site", "", func(w *flowtest.Writer) {
			w.UDP(resolver, from(2), answerWith(t, "www.example.org", "", "2001:db8:1::9"))
		}},
		{"its client asked for a site", "", func(w *flowtest.Writer) {
			w.UDP(at("[2001:db8::53]:53"), six, answerWith(t, "www.example.org", "", "2001:db8:1::9"))
		}},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			w.UDP(from(1), resolver, flowtest.Question("chat.pigeon.example"))
			w.UDP(resolver, from(1), answerWith(t, "chat.pigeon.example", "", "2001:db8:1::9"))
			c.also(w)
			w.TCP(six, edge, opaque())
		})
		f := byEnds(t, got, six, edge)
		if f.Flow.App != c.want || c.want != "" && f.Flow.Confidence != event.Low {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// TestOtherNamesOfAQuestion: the alias that answers, and a suffix that a small network's resolver adds.
func TestOtherNamesOfAQuestion(t *testing.T) {
	for _, c := range []struct {
		name, alias, want string
		sure              event.Confidence
	}{
		{"chat.firm.example", "firm.pigeon.example", "pigeon", event.Medium},
		{"chat.pigeon.example.lan", "", "pigeon", event.High},
		{"chat.pigeon.example", "edge.example.org", "pigeon", event.High},
		{"chat.pigeon.example.org", "", "", 0},
		{"www.example.org", "edge.example.org", "", 0},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			w.UDP(resolver, from(1), answerWith(t, c.name, c.alias, "203.0.113.10"))
			w.TCP(from(2), at("203.0.113.10:443"), opaque())
		})
		if f := byEnds(t, got, resolver, from(1)).Flow; f.App != c.want || f.Confidence != c.sure {
			t.Errorf("%s: %+v", c.name, f)
		}
		if f := byEnds(t, got, from(2), at("203.0.113.10:443")).Flow; f.App != c.want {
			t.Errorf("the flow to %s: %+v", c.name, f)
		}
	}
}

// address is the value of an attribute with an address, under the cookie of message m.
func address(kind uint16, end netip.AddrPort) flowtest.Attribute {
	value := []byte{0, 1, 0, 0}
	binary.BigEndian.PutUint16(value[2:], end.Port()^0x2112)
	a, cookie := end.Addr().As4(), [4]byte{0x21, 0x12, 0xa4, 0x42}
	for i := range a {
		value = append(value, a[i]^cookie[i])
	}
	return flowtest.Attribute{Kind: kind, Value: value}
}

// TestSessionsTeach: a relay's address for a call, the peers it is asked to reach, and those that checks reach, are of the call; a public
// server that the call's socket asks for its own address is not.
func TestSessionsTeach(t *testing.T) {
	realm := flowtest.Attribute{Kind: 0x14, Value: []byte("pigeon.example")}
	check := flowtest.Attribute{Kind: 6, Value: []byte("abcd:efgh")}
	relayed, peer, checked, public := at("192.0.2.9:49160"), at("203.0.113.20:5000"), at("203.0.113.21:5000"), at("203.0.113.22:3478")
	got := classified(t, birdCalls(t), flow.Limits{}, func(w *flowtest.Writer) {
		w.UDP(at("192.0.2.9:3478"), from(1), flowtest.STUN(0x0103, realm, address(0x16, relayed)))
		w.UDP(from(1), at("192.0.2.9:3478"), flowtest.STUN(0x0008, realm, address(0x12, peer)))
		w.UDP(from(1), checked, flowtest.STUN(1, check))
		w.UDP(from(1), public, flowtest.STUN(1))
		for i, end := range []netip.AddrPort{relayed, peer, checked, public} {
			for n := range uint16(5) {
				w.UDP(from(10+i), end, flowtest.RTP(111, n))
			}
		}
	})
	for i, c := range []struct {
		end  netip.AddrPort
		want string
	}{{relayed, "pigeon"}, {peer, "pigeon"}, {checked, "pigeon"}, {public, ""}} {
		if f := byEnds(t, got, from(10+i), c.end).Flow; f.App != c.want || c.want != "" && (f.Service != "call" || f.Confidence != event.Medium) {
			t.Errorf("%v: %+v", c.end, f)
		}
	}
}

// TestDescribedMedia: where a session description wants its media, there is the call.
func TestDescribedMedia(t *testing.T) {
	media := at("203.0.113.30:40000")
	got := classified(t, birdCalls(t), flow.Limits{}, func(w *flowtest.Writer) {
		w.UDP(from(1), at("192.0.2.9:5060"), []byte("INVITE sip:a@b SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nc=IN IP4 203.0.113.30\r\nm=audio 40000 RTP/AVP 0\r\n"))
		for n := range uint16(5) {
			w.UDP(from(2), media, flowtest.RTP(0, n))
		}
	})
	if f := byEnds(t, got, from(2), media).Flow; f.App != "pigeon" || f.Service != "call" {
		t.Errorf("%+v", f)
	}
}

// TestSkypeNode: what else a machine with a classic Skype socket does. An opaque flow is weak, and of another machine it is nothing; a
// protocol that is known is not Skype's.
func TestSkypeNode(t *testing.T) {
	say := func(b []byte) flowtest.Chunk { return flowtest.Chunk{FromClient: true, Data: b} }
	both := []flowtest.Chunk{say(sealed(80, 1)), {Data: sealed(90, 2)}}
	stranger, neighbour := at("203.0.113.99:50000"), at("10.0.0.9:50000")
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		for i := range 12 {
			w.UDP(from(20000), at(fmt.Sprintf("198.51.%d.1:30000", i)), skypeLike(uint16(100+3*i), 2))
		}
		w.TCP(stranger, from(20000), both...)
		w.TCP(from(21), at("203.0.113.98:31010"), both...)
		w.TCP(from(22), at("203.0.113.98:80"), say(request("www.example.org", "/", "")))
		w.TCP(neighbour, at("203.0.113.98:31011"), both...)
	})
	for key, want := range map[string]event.Confidence{"50000 " + from(20000).String(): event.Medium, "21 203.0.113.98:31010": event.Low, "22 203.0.113.98:80": 0, "50000 203.0.113.98:31011": 0} {
		if f, ok := got[key]; !ok || f.Flow.Confidence != want || (want > 0) != (f.Flow.App == "skype") {
			t.Errorf("%s: %+v %v", key, f.Flow, f.Evidence)
		}
	}
}

// TestSkypeRefusals: one that shows an end of its flow makes a node; two that tell the same address do too, and one does not.
func TestSkypeRefusals(t *testing.T) {
	refusal := func(object uint16, told ...byte) []byte {
		return append(append(binary.BigEndian.AppendUint16(nil, object), 7), append(told, 1, 2, 3, 4)...)
	}
	for _, c := range []struct {
		name string
		told [][]byte
		want string
	}{
		{"its own address", [][]byte{{10, 0, 0, 7}}, "skype"},
		{"two alike", [][]byte{{8, 8, 4, 4}, {8, 8, 4, 4}}, "skype"},
		{"one", [][]byte{{8, 8, 4, 4}}, ""},
		{"two that differ", [][]byte{{8, 8, 4, 4}, {8, 8, 8, 8}}, ""},
	} {
		got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
			for i, told := range c.told {
				server := at(fmt.Sprintf("203.0.113.%d:33033", 1+i))
				w.UDP(from(20000), server, skypeLike(uint16(500*i+9), 2))
				w.UDP(server, from(20000), refusal(uint16(500*i+9), told...))
			}
		})
		key := fmt.Sprintf("20000 203.0.113.%d:33033", len(c.told))
		if f := got[key]; f.Flow.App != c.want {
			t.Errorf("%s: %+v %v", c.name, f.Flow, f.Evidence)
		}
	}
}

// TestLiveRevises: on an interface a flow that another explains is reported once more, and says so.
func TestLiveRevises(t *testing.T) {
	var got []classify.Finding
	c := birdCalls(t)
	k := classify.New(c, classify.Options{Live: true, Report: func(f *classify.Finding) { got = append(got, *f) }})
	tracker := flow.NewTracker(k, flow.Limits{Budget: 2})
	b := &bytes.Buffer{}
	w := flowtest.NewWriter(b, start)
	for range 4 {
		w.UDP(from(1), at("203.0.113.5:40000"), flowtest.STUN(1))
	}
	w.UDP(at("192.0.2.9:3478"), from(1), flowtest.STUN(0x113, flowtest.Attribute{Kind: 0x14, Value: []byte("pigeon.example")}))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := flow.ReadCapture(t.Context(), b, tracker); err != nil {
		t.Fatal(err)
	}
	f := byEnds(t, got, from(1), at("203.0.113.5:40000")).Flow
	if f.App != "pigeon" || !f.Revised {
		t.Errorf("%+v", f)
	}
}
