package classify_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// pieces cuts b into segments of n bytes, all from the client.
func pieces(b []byte, n int) (out []flowtest.Chunk) {
	for len(b) > 0 {
		out = append(out, flowtest.Chunk{FromClient: true, Data: b[:min(n, len(b))]})
		b = b[min(n, len(b)):]
	}
	return out
}

// framedSTUN puts a length before a message, as TURN over TCP does in the form of RFC 4571.
func framedSTUN(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }

// TestStreamsInTheWild: how messengers open TCP connections, in the forms and on the ports that their documents name; over IPv6 too, and
// with the first bytes in as many segments as there are.
func TestStreamsInTheWild(t *testing.T) {
	realm := func(s string) flowtest.Attribute { return flowtest.Attribute{Kind: 0x14, Value: []byte(s)} }
	noise := func(version, dictionary byte) []byte {
		return append([]byte{'W', 'A', version, dictionary, 0, 0, 36}, sealed(36, 1)...)
	}
	edge := append([]byte("ED\x00\x01\x00\x00\x04abcd"), noise(6, 3)...)
	for _, c := range []struct {
		name         string
		port         uint16
		said         []byte
		app, service string
	}{
		{"whatsapp, of 2019", 443, noise(4, 0), "whatsapp", "chat"},
		{"whatsapp, of today", 5222, noise(6, 3), "whatsapp", "chat"},
		{"whatsapp, routed by an edge", 80, edge, "whatsapp", "chat"},
		{"telegram, obfuscated", 443, flowtest.MTProto(), "telegram", "chat"},
		{"telegram, obfuscated on another port", 5222, flowtest.MTProto(), "telegram", "chat"},
		{"telegram, abridged", 80, append([]byte("\xef\x0a"), make([]byte, 40)...), "telegram", "chat"},
		{"telegram, intermediate", 443, append([]byte("\xee\xee\xee\xee\x28\x00\x00\x00"), make([]byte, 40)...), "telegram", "chat"},
		{"telegram, padded", 443, append([]byte("\xdd\xdd\xdd\xdd\x2b\x00\x00\x00"), make([]byte, 43)...), "telegram", "chat"},
		{"signal's relay over tcp", 443, flowtest.STUN(0x113, realm("signal.org")), "signal", "call"},
		{"teams' relay over tcp", 443, flowtest.STUN(3, flowtest.Attribute{Kind: 0x8008, Value: []byte{0, 0, 0, 6}}), "skype_teams", "call"},
		{"teams' relay over tcp, framed", 443, framedSTUN(flowtest.STUN(3, flowtest.Attribute{Kind: 0x8008, Value: []byte{0, 0, 0, 6}})), "skype_teams", "call"},
		{"xmpp", 5222, []byte("<?xml version='1.0'?><stream:stream to='a.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"), "xmpp", "chat"},
	} {
		for _, v6 := range []bool{false, true} {
			for _, size := range []int{1 << 14, 7, 1} {
				who, server := from(1), netip.AddrPortFrom(netip.MustParseAddr("203.0.113.5"), c.port)
				if v6 {
					who, server = at("[2001:db8::7]:1"), netip.AddrPortFrom(netip.MustParseAddr("2001:db8:5::5"), c.port)
				}
				if size < 7 && len(c.said) > 45 { // the budget is of packets with payload
					continue
				}
				got := findings(t, classify.Options{}, func(w *flowtest.Writer) { w.TCP(who, server, pieces(c.said, size)...) })
				f := got[fmt.Sprintf("1 %v", server)]
				if want := c.app; f.Flow.App != want || f.Flow.Service != c.service {
					t.Errorf("%s, IPv6 %v, in pieces of %d: %+v by %v", c.name, v6, size, f.Flow, f.Evidence)
				}
			}
		}
	}
}

// TestDatagramsInTheWild does the same for calls.
func TestDatagramsInTheWild(t *testing.T) {
	attribute := func(kind uint16, value string) flowtest.Attribute {
		return flowtest.Attribute{Kind: kind, Value: []byte(value)}
	}
	zoom := append([]byte{5, 0, 1, 0, 0, 0, 0, 4, 16}, make([]byte, 40)...)
	for _, c := range []struct {
		name, server string
		said         []byte
		app          string
	}{
		{"signal's relay", "203.0.113.5:3478", flowtest.STUN(0x113, attribute(0x14, "signal.org")), "signal"},
		{"telegram's reflector", "91.108.9.35:1400", flowtest.STUN(1), "telegram"},
		{"telegram's reflector by IPv6", "[2001:b28:f23d::5]:1400", flowtest.STUN(1), "telegram"},
		{"whatsapp's relay", "203.0.113.5:3478", flowtest.STUN(3, attribute(0x4002, "token-token-token")), "whatsapp"},
		{"discord's discovery", "203.0.113.5:50004", append([]byte{0, 1, 0, 70, 0, 0, 1, 2}, make([]byte, 66)...), "discord"},
		{"zoom's media", "203.0.113.5:8801", zoom, "zoom"},
		{"teams' relay", "203.0.113.5:3479", flowtest.STUN(3, attribute(0x8008, "\x00\x00\x00\x06")), "skype_teams"},
		{"teams' check", "203.0.113.5:50020", flowtest.STUN(1, attribute(0x8070, "\x00\x00\x00\x03")), "skype_teams"},
		{"meet's media server", "203.0.113.5:19305", flowtest.STUN(1), "google_meet"},
		{"meet's media server by IPv6", "[2001:4860:4864:5::7]:3478", flowtest.STUN(1), "google_meet"},
		{"messenger's relay", "203.0.113.5:3478", flowtest.STUN(0x113, attribute(0x14, "turner.facebook")), "facebook_messenger"},
		{"anybody's check", "203.0.113.5:50020", flowtest.STUN(1, attribute(6, "abcd:efgh"), attribute(0xc057, "\x00\x01\x00\x0a"), attribute(0xc001, "\x00\x00\x00\x01"), attribute(0xc059, "\x00\x00")), ""},
		{"anybody's public server", "203.0.113.5:19302", flowtest.STUN(1), ""},
	} {
		who := from(1)
		if at(c.server).Addr().Is6() {
			who = at("[2001:db8::7]:1")
		}
		got := findings(t, classify.Options{}, func(w *flowtest.Writer) { w.UDP(who, at(c.server), c.said) })
		f := got["1 "+c.server]
		if f.Flow.App != c.app || c.app != "" && (f.Flow.Service != "call" || f.Flow.PacketsToVerdict != 1 || f.Flow.Confidence < event.Medium) {
			t.Errorf("%s: %+v by %v", c.name, f.Flow, f.Evidence)
		}
	}
}

// TestAClientsPortIsNoServersPort: a client that happens to have a messenger's port says nothing of the server, nor of the server's other clients;
// a server that is seen to speak first does.
func TestAClientsPortIsNoServersPort(t *testing.T) {
	server := at("203.0.113.5:3478")
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		w.UDP(at("10.0.0.7:19305"), server, flowtest.STUN(1))
		w.UDP(at("10.0.0.8:40000"), server, flowtest.STUN(1))
		w.UDP(at("203.0.113.6:19305"), at("10.0.0.9:41000"), flowtest.STUN(1))
	})
	for key, app := range map[string]string{"19305 203.0.113.5:3478": "", "40000 203.0.113.5:3478": "", "19305 10.0.0.9:41000": "google_meet"} {
		if f, ok := got[key]; !ok || f.Flow.App != app {
			t.Errorf("%s: %q by %v", key, f.Flow.App, f.Evidence)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d findings: %v", len(got), got)
	}
}

// TestWhatCannotBeKnown: a proxy of Telegram that poses as a web server, and one whose secret is part of the key, show nothing of it. They
// stay unknown, and say what they showed.
func TestWhatCannotBeKnown(t *testing.T) {
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		handshake(t, w, 1, "203.0.113.5:443", "www.example.org")
		w.TCP(from(2), at("203.0.113.6:443"), flowtest.Chunk{FromClient: true, Data: sealed(120, 5)}, flowtest.Chunk{Data: sealed(90, 6)})
	})
	for key, want := range map[string]event.Evidence{
		"1 203.0.113.5:443": {Fact: "tls name", Value: "www.example.org"}, "2 203.0.113.6:443": {Fact: "decoder:encrypted", Value: "sides both"},
	} {
		if f := got[key]; f.Flow.App != "" || len(f.Evidence) != 1 || f.Evidence[0] != want {
			t.Errorf("%s: %+v %v", key, f.Flow, f.Evidence)
		}
	}
}

// TestPhases: what an app's flow is for, where its protocol says so, and a call of classic Skype by its pace.
func TestPhases(t *testing.T) {
	peers := func(w *flowtest.Writer) {
		for i := range 12 {
			w.UDP(from(20000), at(fmt.Sprintf("198.51.%d.1:30000", i)), skypeLike(uint16(100+3*i), 2))
		}
	}
	call := at("198.51.3.1:30000")
	got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
		peers(w)
		for range 60 {
			w.UDP(from(20000), call, bytes.Repeat([]byte{0x5a}, 90))
			w.UDP(call, from(20000), bytes.Repeat([]byte{0x5a}, 90))
		}
		w.TCP(from(1), at("203.0.113.1:443"), flowtest.Chunk{FromClient: true, Data: []byte("\x16\x03\x01\x00\x00")}, flowtest.Chunk{Data: []byte("\x17\x03\x01\x00\x00")})
		handshake(t, w, 2, "203.0.113.2:443", "mmg.whatsapp.net")
		handshake(t, w, 3, "203.0.113.3:443", "g.whatsapp.net")
		handshake(t, w, 4, "203.0.113.4:443", "login.skype.com")
		handshake(t, w, 5, "203.0.113.5:443", "chat.signal.org")
	})
	for key, want := range map[string]string{
		"20000 198.51.0.1:30000": "skype probe", "20000 " + call.String(): "skype call", "1 203.0.113.1:443": "skype login",
		"2 203.0.113.2:443": "whatsapp file", "3 203.0.113.3:443": "whatsapp chat", "4 203.0.113.4:443": "skype login", "5 203.0.113.5:443": "signal chat",
	} {
		if f := got[key].Flow; f.App+" "+f.Service != want {
			t.Errorf("%s is %s %s, want %s", key, f.App, f.Service, want)
		}
	}
}
