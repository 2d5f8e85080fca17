package classify_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
	"github.com/chaperone-im/chaperone/internal/policy"
)

var (
	client   = netip.MustParseAddr("10.0.0.7")
	resolver = netip.MustParseAddrPort("192.0.2.53:53")
	start    = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
)

// from returns a port of the client's machine.
func from(port int) netip.AddrPort { return netip.AddrPortFrom(client, uint16(port)) }

// at parses an address with a port.
func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// findings classifies the packets that write makes, and returns what was found by "client port server".
func findings(t *testing.T, o classify.Options, write func(w *flowtest.Writer)) map[string]classify.Finding {
	t.Helper()
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, start)
	write(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]classify.Finding{}
	o.Report = func(f *classify.Finding) {
		client := netip.MustParseAddrPort(f.Flow.Client)
		key := fmt.Sprintf("%d %s", client.Port(), f.Flow.Server)
		if _, twice := got[key]; twice {
			t.Errorf("%s was reported twice", key)
		}
		got[key] = *f
	}
	if _, err := flow.ReadCapture(t.Context(), &b, flow.NewTracker(classify.New(cat, o), flow.Limits{})); err != nil {
		t.Fatal(err)
	}
	return got
}

// handshake writes a TLS connection that asks for the name.
func handshake(t *testing.T, w *flowtest.Writer, port int, server, name string) {
	t.Helper()
	chunks, err := flowtest.Handshake(name, 0x0304)
	if err != nil {
		t.Fatal(err)
	}
	w.TCP(from(port), at(server), chunks...)
}

// nameless writes a TLS connection of an older client that asks for no name; the server's certificate has one.
func nameless(t *testing.T, w *flowtest.Writer, port int, server, certificate string) {
	t.Helper()
	chunks, err := flowtest.Handshake(certificate, 0x0303)
	if err != nil {
		t.Fatal(err)
	}
	hello := chunks[0].Data
	i := bytes.Index(hello, append([]byte{0, 0, byte((len(certificate) + 5) >> 8), byte(len(certificate) + 5)}, 0, byte(len(certificate)+3)))
	if i < 0 {
		t.Fatal("no server name in the hello")
	}
	hello[i] = 0x7a // an extension that nobody knows
	w.TCP(from(port), at(server), chunks...)
}

func TestNames(t *testing.T) {
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		handshake(t, w, 1, "192.0.2.1:443", "web.whatsapp.com")
		handshake(t, w, 2, "192.0.2.2:443", "notwhatsapp.com")
		w.TCP(from(3), at("192.0.2.3:80"), flowtest.Chunk{FromClient: true, Data: []byte("GET / HTTP/1.1\r\nHost: web.telegram.org\r\n\r\n")})
		w.TCP(from(4), at("192.0.2.4:3128"), flowtest.Chunk{FromClient: true, Data: []byte("CONNECT chat.signal.org:443 HTTP/1.1\r\n\r\n")})
		nameless(t, w, 5, "192.0.2.5:443", "idbroker.webex.com")
		nameless(t, w, 6, "192.0.2.6:443", "www.example.org")
		w.UDP(from(7), resolver, flowtest.Question("discord.com"))
		packets, err := flowtest.QUICInitials("app.snapchat.com", 400)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets {
			w.UDP(from(8), at("192.0.2.8:443"), p)
		}
	})
	for key, app := range map[string]string{
		"1 192.0.2.1:443": "whatsapp", "2 192.0.2.2:443": "", "3 192.0.2.3:80": "telegram", "4 192.0.2.4:3128": "signal",
		"5 192.0.2.5:443": "webex", "6 192.0.2.6:443": "", "7 192.0.2.53:53": "discord", "8 192.0.2.8:443": "snapchat",
	} {
		f, ok := got[key]
		if !ok || f.Flow.App != app {
			t.Errorf("%s is %q (%v), want %q", key, f.Flow.App, ok, app)
		}
		if app != "" && (len(f.Evidence) == 0 || f.Flow.Confidence < event.Medium || f.Evidence[0].Source == "" || f.Flow.PacketsToVerdict == 0) {
			t.Errorf("%s: confidence %d after %d packets, evidence %v", key, f.Flow.Confidence, f.Flow.PacketsToVerdict, f.Evidence)
		}
		if app == "" && (len(f.Evidence) != 1 || f.Evidence[0].Strength != 0 || f.Evidence[0].Source != "" || f.Flow.Confidence != 0) {
			t.Errorf("%s: what is known of a flow of nothing is %v: facts without strength", key, f.Evidence)
		}
	}
}

// TestAnswersAreRemembered: a flow without a name of its own has that of the question whose answer was its server, and only for whom
// asked, and only for a while.
func TestAnswersAreRemembered(t *testing.T) {
	edge := "203.0.113.10:443"
	opaque := flowtest.Chunk{FromClient: true, Data: []byte("\x00\x01\x02\x03 opaque bytes of nobody knows what, longer than sixty-four of them in all.")}
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		w.UDP(from(1), resolver, flowtest.Question("g.whatsapp.net"))
		w.UDP(resolver, from(1), flowtest.Answer("g.whatsapp.net", at(edge).Addr()))
		w.TCP(from(2), at(edge), opaque)
		w.TCP(at("10.0.0.8:3"), at(edge), opaque)
		handshake(t, w, 4, edge, "www.example.org")
		w.Wait(3 * time.Hour)
		w.TCP(from(5), at(edge), opaque)
	})
	if f := got["2 "+edge]; f.Flow.App != "whatsapp" || f.Flow.Name != "g.whatsapp.net" || f.Flow.Confidence > event.Medium {
		t.Errorf("after the answer: %+v", f.Flow)
	}
	for key, why := range map[string]string{"3 ": "another machine", "4 ": "a name of its own", "5 ": "hours later"} {
		if f := got[key+edge]; f.Flow.App != "" {
			t.Errorf("%s: %+v", why, f.Flow)
		}
	}
}

// TestNamesAtAnAddressTeach: a connection without a name has that of another one of the same client to the same address, also of a later
// one; not where names of several apps were used.
func TestNamesAtAnAddressTeach(t *testing.T) {
	middle := func(w *flowtest.Writer, port int, server string) {
		w.Frame(flowtest.TCPFrame(from(port), at(server), 1, 1, 0x18, []byte("\x17\x03\x03\x00\x20 the middle of something encrypted")))
	}
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		middle(w, 1, "192.0.2.1:443")
		handshake(t, w, 2, "192.0.2.1:443", "web.whatsapp.com")
		middle(w, 3, "192.0.2.1:443")
		handshake(t, w, 4, "192.0.2.2:443", "web.whatsapp.com")
		handshake(t, w, 5, "192.0.2.2:443", "www.example.org")
		middle(w, 6, "192.0.2.2:443")
	})
	for key, app := range map[string]string{"1 192.0.2.1:443": "whatsapp", "3 192.0.2.1:443": "whatsapp", "6 192.0.2.2:443": ""} {
		if f := got[key]; f.Flow.App != app {
			t.Errorf("%s is %q, want %q", key, f.Flow.App, app)
		}
	}
}

// TestWhatIsKept: law 9 of what becomes a record and what an observation.
func TestWhatIsKept(t *testing.T) {
	for _, c := range []struct {
		app     string
		verdict event.Verdict
		keep    bool
	}{
		{"whatsapp", event.Verdict{Action: event.Block, Rule: "r"}, true},
		{"", event.Verdict{Action: event.Block, Rule: policy.OtherwiseRule}, true},
		{"whatsapp", event.Verdict{Action: event.Allow, Rule: policy.OtherwiseRule}, true},
		{"whatsapp", event.Verdict{Action: event.Allow, Rule: "office"}, false},
		{"whatsapp", event.Verdict{Action: event.Allow, Rule: "office", Obligations: []event.Obligation{{Kind: event.Warn}}}, true},
		{"whatsapp", event.Verdict{Action: event.Allow, Rule: "office", Obligations: []event.Obligation{{Kind: event.Alert}}}, true},
		{"", event.Verdict{Action: event.Allow, Rule: policy.OtherwiseRule}, false},
	} {
		f := classify.Finding{Flow: event.Flow{App: c.app}, Verdict: c.verdict}
		if f.Record() != c.keep {
			t.Errorf("%q %s by %s: kept %v", c.app, c.verdict.Action, c.verdict.Rule, f.Record())
		}
	}
}

// TestCallSocket: what names one flow of a call's socket names the others, also those that came before.
func TestCallSocket(t *testing.T) {
	realm := flowtest.Attribute{Kind: 0x14, Value: []byte("signal.org")}
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		w.UDP(from(1000), at("198.51.100.1:50000"), flowtest.STUN(1))
		w.UDP(from(1000), at("192.0.2.9:3478"), flowtest.STUN(3))
		w.UDP(at("192.0.2.9:3478"), from(1000), flowtest.STUN(0x113, realm))
		for n := range uint16(6) {
			w.UDP(from(1000), at("198.51.100.2:50002"), flowtest.RTP(111, n))
		}
		w.UDP(from(1001), at("198.51.100.3:50000"), flowtest.STUN(1))
	})
	for _, key := range []string{"1000 198.51.100.1:50000", "1000 192.0.2.9:3478", "1000 198.51.100.2:50002"} {
		if f := got[key]; f.Flow.App != "signal" || f.Flow.Service != "call" {
			t.Errorf("%s: %+v", key, f.Flow)
		}
	}
	if f := got["1001 198.51.100.3:50000"]; f.Flow.App != "" {
		t.Errorf("another socket: %+v", f.Flow)
	}
}

// skypeLike makes a datagram with an object id and a function.
func skypeLike(id uint16, function byte) []byte {
	b := make([]byte, 30)
	binary.BigEndian.PutUint16(b, id)
	b[2] = 0x40 | function
	for i := 3; i < len(b); i++ {
		b[i] = byte(int(id)*31 + i*7)
	}
	return b
}

// TestClassicSkype: many peers and object ids that go up in small steps make it; ids at random, or few peers, do not.
func TestClassicSkype(t *testing.T) {
	step := func(i int) uint16 { return uint16(100 + 3*i) }
	random := func(i int) uint16 { return uint16(i * 40503) }
	known, any := []byte{2, 0xd}, []byte{2, 0, 1, 0xd, 4, 6}
	for _, c := range []struct {
		name      string
		peers     int
		id        func(int) uint16
		functions []byte
		app       string
	}{{"skype", 12, step, known, "skype"}, {"random ids", 12, random, known, ""}, {"few peers", 5, step, known, ""}, {"a counter and any byte", 60, step, any, ""}} {
		got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
			for i := range c.peers {
				w.UDP(from(20000), at(fmt.Sprintf("198.51.%d.1:30000", i)), skypeLike(c.id(i), c.functions[i%len(c.functions)]))
			}
			w.TCP(from(20001), at("198.51.3.1:443"))
		})
		for key, f := range got {
			if f.Flow.App != c.app {
				t.Errorf("%s: %s is %q", c.name, key, f.Flow.App)
			}
		}
		if f := got["20000 198.51.0.1:30000"]; c.app != "" && f.Flow.Confidence != event.Medium {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func TestAddressAloneIsLow(t *testing.T) {
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		w.TCP(from(1), at("149.154.167.51:5222"), flowtest.Chunk{FromClient: true, Data: bytes.Repeat([]byte("\x01\x99"), 40)})
		handshake(t, w, 2, "149.154.167.51:443", "www.example.org")
	})
	if f := got["1 149.154.167.51:5222"]; f.Flow.App != "telegram" || f.Flow.Confidence != event.Low {
		t.Errorf("%+v", f.Flow)
	}
	if f := got["2 149.154.167.51:443"]; f.Flow.App != "" {
		t.Errorf("another name at that address: %+v", f.Flow)
	}
}

// TestAddressAloneStopsNothing: by the quickstart policy a messenger's address informs, and its protocol is stopped.
func TestAddressAloneStopsNothing(t *testing.T) {
	file, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(file, policy.Known{Hits: []string{"change-of-venue", "disguised-file", "executable-file", "payment-card", "private-key", "access-key"}})
	if err != nil {
		t.Fatal(err)
	}
	got := findings(t, classify.Options{Policy: p}, func(w *flowtest.Writer) {
		w.TCP(from(1), at("149.154.167.51:5222"), flowtest.Chunk{FromClient: true, Data: bytes.Repeat([]byte("\x01\x99"), 40)})
		w.TCP(from(2), at("149.154.167.51:443"), flowtest.Chunk{FromClient: true, Data: flowtest.MTProto()})
	})
	if f := got["1 149.154.167.51:5222"]; f.Flow.App != "telegram" || f.Verdict.Action != event.Allow || f.Verdict.Rule != policy.OtherwiseRule || !f.Record() {
		t.Errorf("the address alone: %+v", f)
	}
	if f := got["2 149.154.167.51:443"]; f.Flow.App != "telegram" || f.Verdict.Rule != "no-messengers" {
		t.Errorf("its protocol: %+v", f)
	}
}

// judge is a policy.Decider that stops one app, and keeps what it was asked.
type judge struct{ asked []*policy.Input }

func (j *judge) Decide(in *policy.Input) event.Verdict {
	j.asked = append(j.asked, in)
	if in.Event.Flow.App == "telegram" {
		return event.Verdict{Action: event.Block, Rule: "no-telegram"}
	}
	return event.Verdict{Action: event.Allow, Rule: policy.OtherwiseRule}
}

func TestPolicyIsAsked(t *testing.T) {
	j := &judge{}
	o := classify.Options{Capture: "c.pcap", Policy: j, Host: func(a netip.Addr) event.Host { return event.Host{Name: "pc", Address: a.String()} }}
	got := findings(t, o, func(w *flowtest.Writer) {
		w.TCP(from(1), at("192.0.2.1:443"), flowtest.Chunk{FromClient: true, Data: flowtest.MTProto()})
		handshake(t, w, 2, "192.0.2.2:443", "www.example.org")
	})
	if f := got["1 192.0.2.1:443"]; f.Verdict.Rule != "no-telegram" || f.Flow.Capture != "c.pcap" {
		t.Errorf("%+v", f)
	}
	if f := got["2 192.0.2.2:443"]; f.Verdict.Action != event.Allow || f.Flow.JA4 == "" || f.Flow.ALPN != "h2" {
		t.Errorf("%+v", f)
	}
	if len(j.asked) != 2 || !j.asked[0].Final || j.asked[0].Event.Kind != event.FlowSeen || j.asked[0].Event.Host.Name != "pc" || j.asked[0].Event.Source != event.SourceCapture {
		t.Errorf("asked %d times: %+v", len(j.asked), j.asked[0].Event)
	}
}

// TestLiveReportsEarly: on an interface a messenger is reported when it is known, and its flow not again when it ends.
func TestLiveReportsEarly(t *testing.T) {
	got := findings(t, classify.Options{Live: true}, func(w *flowtest.Writer) {
		w.TCP(from(1), at("192.0.2.1:443"), flowtest.Chunk{FromClient: true, Data: flowtest.MTProto()}, flowtest.Chunk{FromClient: false, Data: make([]byte, 9000)})
	})
	if f := got["1 192.0.2.1:443"]; f.Flow.App != "telegram" || f.Flow.Packets != 4 {
		t.Errorf("%+v", f.Flow)
	}
}
