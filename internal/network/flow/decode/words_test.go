package decode_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// packed is a DNS message in the form of the wire, made by another implementation.
func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDNSTypes(t *testing.T) {
	for kind, want := range map[uint16]string{
		dns.TypeA: "A", dns.TypeAAAA: "AAAA", dns.TypeHTTPS: "HTTPS", dns.TypeCNAME: "CNAME", dns.TypePTR: "PTR", dns.TypeSRV: "SRV",
		dns.TypeTXT: "TXT", dns.TypeMX: "MX", dns.TypeNS: "NS", dns.TypeSOA: "SOA", dns.TypeCAA: "257", dns.TypeANY: "255", dns.TypeSVCB: "64",
	} {
		fact, ok := datagram(packed(t, new(dns.Msg).SetQuestion("_xmpp-client._tcp.Example.ORG.", kind)), 53)
		if !ok || fact.Get("type") != want || fact.Get("name") != "_xmpp-client._tcp.example.org" {
			t.Errorf("type %d: %v", kind, fact)
		}
	}
}

func TestDNSAnswers(t *testing.T) {
	head := func(name string, kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: 60}
	}
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	records := []dns.RR{
		&dns.CNAME{Hdr: head("a.example.", dns.TypeCNAME), Target: "B.Example."},
		&dns.TXT{Hdr: head("b.example.", dns.TypeTXT), Txt: []string{"not an address"}},
		&dns.A{Hdr: head("b.example.", dns.TypeA), A: v4.AsSlice()},
		&dns.AAAA{Hdr: head("b.example.", dns.TypeAAAA), AAAA: v6.AsSlice()},
	}
	for _, compress := range []bool{false, true} {
		m := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
		m.Response, m.Compress, m.Answer = true, compress, records
		b := packed(t, m)
		fact, ok := datagram(b, 53)
		if !ok || !fact.Has("answer", "192.0.2.7") || !fact.Has("answer", "2001:db8::7") || fact.Get("alias") != "b.example" {
			t.Errorf("compressed %v: %v", compress, fact)
		}
		for n := range b { // what is cut behind the question leaves the question, and only whole answers
			cut, ok := datagram(b[:n], 53)
			if !ok || cut.Decoder != "dns" {
				continue
			}
			for _, a := range cut.Attrs {
				if !fact.Has(a.Key, a.Value) {
					t.Errorf("%d bytes say %s=%s", n, a.Key, a.Value)
				}
			}
		}
		question := b
		question[2] &^= 0x80
		if fact, _ := datagram(question, 53); fact.Get("answer") != "" {
			t.Errorf("a question has the answer %v", fact)
		}
	}
}

// TestDNSOverTCP: the answer is read when all of it has come (RFC 1035, section 4.2.2), and from port 53 only.
func TestDNSOverTCP(t *testing.T) {
	message := flowtest.Answer("chat.example.org", netip.MustParseAddr("192.0.2.9"))
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
	for n := 0; n <= len(framed); n++ {
		facts := conversation("", string(framed[:n]), 53, false)
		if found := len(facts) == 1 && facts[0].Has("answer", "192.0.2.9"); found != (n == len(framed)) {
			t.Errorf("%d of %d bytes: %v", n, len(framed), facts)
		}
	}
	if facts := conversation("", string(framed), 853, false); len(facts) > 0 {
		t.Errorf("found %v on another port", facts)
	}
	if facts := conversation("", "\x00\x00"+strings.Repeat("\x00", 20), 53, false); len(facts) > 0 {
		t.Errorf("found %v in a message of no length", facts)
	}
}

func TestHTTPRequests(t *testing.T) {
	for _, c := range []struct{ request, name, method, path, agent string }{
		{"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "GET", "/", ""},
		{"POST /v1/messages?token=secret HTTP/1.1\r\nHOST:A.Example:8080\r\nuser-agent:\tx/1 \r\n\r\n", "a.example", "POST", "/v1/messages", "x/1"},
		{"HEAD /a HTTP/1.0\r\n\r\n", "", "HEAD", "/a", ""},
		{"PUT http://Proxy.Example/x HTTP/1.1\r\nHost: b.example\r\n\r\n", "b.example", "PUT", "http://Proxy.Example/x", ""},
		{"DELETE http://only.example/x HTTP/1.0\r\n\r\n", "only.example", "DELETE", "http://only.example/x", ""},
		{"CONNECT c.example:443 HTTP/1.1\r\nHost: liar.example\r\n\r\n", "c.example", "CONNECT", "c.example:443", ""},
		{"OPTIONS * HTTP/1.1\r\nX-Host: no.example\r\nHost: d.example.\r\n\r\n", "d.example", "OPTIONS", "*", ""},
		{"PATCH /a HTTP/1.1\r\nHost : space.example\r\nHost: e.example\r\n\r\n", "e.example", "PATCH", "/a", ""},
		{"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "", "GET", "/", ""},
		{"GET / HTTP/1.1\r\nHost: with space.example\r\n\r\n", "", "GET", "/", ""},
		{"PROPFIND /dav HTTP/1.1\r\nHost: f.example\r\n\r\nHost: body.example\r\n\r\n", "f.example", "PROPFIND", "/dav", ""},
		{"GET / HTTP/1.1\nHost: bare.example\n\n\r\n\r\n", "", "GET", "/", ""},
	} {
		facts := conversation(c.request, "", 80, false)
		if len(facts) != 1 || facts[0].Decoder != "http" {
			t.Errorf("%q: found %v", c.request, facts)
			continue
		}
		f := facts[0]
		if f.Get("name") != c.name || f.Get("method") != c.method || f.Get("path") != c.path || f.Get("agent") != c.agent {
			t.Errorf("%q: found %v", c.request, f)
		}
		if strings.Contains(f.Get("path"), "secret") {
			t.Errorf("%q: the query was kept", c.request)
		}
	}
}

// TestHTTPWithManyHeaders: a name behind more headers than are read is not looked for.
func TestHTTPWithManyHeaders(t *testing.T) {
	request := func(n int) string {
		return "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", n) + "Host: late.example\r\n\r\n"
	}
	for n, want := range map[int]string{0: "late.example", 63: "late.example", 64: "", 500: ""} {
		facts := conversation(request(n), "", 80, false)
		if len(facts) != 1 || facts[0].Get("name") != want {
			t.Errorf("behind %d headers: %v", n, facts)
		}
	}
}

func TestSIPStartLines(t *testing.T) {
	for _, c := range []struct{ line, method string }{
		{"INVITE sip:a@b SIP/2.0", "INVITE"}, {"REGISTER sips:b SIP/2.0", "REGISTER"}, {"ACK sip:b SIP/2.0", "ACK"}, {"BYE sip:b SIP/2.0", "BYE"},
		{"CANCEL sip:b SIP/2.0", "CANCEL"}, {"SUBSCRIBE sip:b SIP/2.0", "SUBSCRIBE"}, {"NOTIFY sip:b SIP/2.0", "NOTIFY"},
		{"MESSAGE tel:+15550100 SIP/2.0", "MESSAGE"}, {"INFO sip:b SIP/2.0", "INFO"}, {"PRACK sip:b SIP/2.0", "PRACK"},
		{"UPDATE sip:b SIP/2.0", "UPDATE"}, {"REFER sip:b SIP/2.0", "REFER"}, {"PUBLISH sip:b SIP/2.0", "PUBLISH"}, {"SIP/2.0 401 Unauthorized", "SIP/2.0"},
		{"INVITE sip:a@b SIP/3.0", ""}, {"INVITE http://b SIP/2.0", ""}, {"INVITE sip:a@b", ""}, {"invite sip:a@b SIP/2.0", ""}, {"SIP/1.0 200 OK", ""},
	} {
		b := c.line + "\r\nUser-Agent: phone\r\n\r\n"
		fact, ok := datagram([]byte(b), 5060)
		if ok && fact.Decoder == "skype-candidate" {
			ok, fact = false, decode.Fact{}
		}
		if ok != (c.method != "") || fact.Get("method") != c.method {
			t.Errorf("%s over UDP: %v", c.line, fact)
		}
		facts := conversation(b, "", 5060, false)
		if found := decoderOf(facts) == "sip"; found != (c.method != "") {
			t.Errorf("%s over TCP: %v", c.line, facts)
		}
	}
}

func TestSTUNMethods(t *testing.T) {
	for kind, want := range map[uint16]string{
		0x0001: "binding", 0x0101: "binding", 0x0111: "binding", 0x0003: "allocate", 0x0103: "allocate", 0x0113: "allocate", 0x0004: "refresh",
		0x0016: "send", 0x0017: "data", 0x0008: "permission", 0x0009: "channel", 0x000a: "connect", 0x0080: "goog-ping", 0x0801: "vendor-0801",
	} {
		fact, ok := datagram(flowtest.STUN(kind), 3478)
		if !ok || fact.Decoder != "stun" || fact.Get("method") != want {
			t.Errorf("%#x: %v, want %s", kind, fact, want)
		}
	}
}

func TestSTUNAttributes(t *testing.T) {
	fact, ok := datagram(flowtest.STUN(0x0113,
		flowtest.Attribute{Kind: 0x8022, Value: []byte("server 1.0\x00\x00")}, flowtest.Attribute{Kind: 0x0014, Value: []byte("realm.example")},
		flowtest.Attribute{Kind: 0x802f, Value: []byte("https://a.example")}, flowtest.Attribute{Kind: 0x0006, Value: []byte("user")},
		flowtest.Attribute{Kind: 0x4000, Value: []byte{1}}, flowtest.Attribute{Kind: 0xdada, Value: nil}), 3478)
	if !ok || fact.Get("software") != "server 1.0" || fact.Get("realm") != "realm.example" || fact.Get("origin") != "https://a.example" ||
		!fact.Has("vendor", "4000") || !fact.Has("vendor", "dada") || fact.Has("vendor", "0006") {
		t.Errorf("found %v", fact)
	}
	fact, _ = datagram(flowtest.STUN(1, flowtest.Attribute{Kind: 0x8022, Value: []byte("bell\x07")}), 3478)
	if fact.Decoder != "stun" || fact.Get("software") != "" {
		t.Errorf("a control character was kept: %v", fact)
	}
}

func TestHellos(t *testing.T) {
	for _, c := range []struct{ name, protocol, wantName, wantALPN string }{
		{"web.example.org", "h2", "web.example.org", "h2"}, {"UPPER.Example.ORG", "", "upper.example.org", ""}, {"", "xmpp-client", "", "xmpp-client"},
		{"bad name", "h2", "", "h2"}, {"dot.example.org.", "", "dot.example.org", ""},
	} {
		for _, size := range []int{1, 5, 64, 1 << 14} {
			facts := conversation(string(records(1, helloBody(c.name, c.protocol), size)), "", 443, false)
			if len(facts) != 1 || facts[0].Decoder != "tls" || facts[0].Get("name") != c.wantName || facts[0].Get("alpn") != c.wantALPN || facts[0].Get("ja4") == "" {
				t.Errorf("%q in records of %d: %v", c.name, size, facts)
			}
		}
	}
}

// TestJA4IsOfTheHelloAlone: how the hello is cut and whose name it has changes no fingerprint.
func TestJA4IsOfTheHelloAlone(t *testing.T) {
	print := func(name string, size int) string {
		facts := conversation(string(records(1, helloBody(name, "h2"), size)), "", 443, false)
		return facts[0].Get("ja4")
	}
	want := print("a.example.org", 1<<14)
	if !strings.HasPrefix(want, "t12d0202h2_") {
		t.Errorf("fingerprint %s", want)
	}
	if got := []string{print("another.example.com", 1<<14), print("a.example.org", 3)}; slices.ContainsFunc(got, func(s string) bool { return s != want }) {
		t.Errorf("fingerprints %v, want %s", got, want)
	}
	if print("", 1<<14) == want {
		t.Error("a hello without a name has the fingerprint of one with a name")
	}
}

// TestRTPIsASequence: only numbers that go up, of one source, in the client's direction, are a stream of media.
func TestRTPIsASequence(t *testing.T) {
	packet := func(kind byte, n uint16, source uint32) []byte {
		b := append([]byte{0x80, kind}, binary.BigEndian.AppendUint16(nil, n)...)
		b = binary.BigEndian.AppendUint32(b, uint32(n)*160)
		return append(binary.BigEndian.AppendUint32(b, source), "voice"...)
	}
	series := func(change func(i int) []byte) (found bool) {
		var s decode.Datagrams
		for i := range 8 {
			facts, _ := s.Look(&decode.Datagram{Payload: change(i), FromClient: true, ClientPort: 4000, ServerPort: 4001})
			found = found || len(facts) > 0 && facts[0].Decoder == "rtp"
		}
		return found
	}
	for _, c := range []struct {
		name   string
		change func(i int) []byte
		want   bool
	}{
		{"one after the other", func(i int) []byte { return packet(111, uint16(i), 7) }, true},
		{"over the largest number", func(i int) []byte { return packet(111, uint16(65533+i), 7) }, true},
		{"with losses", func(i int) []byte { return packet(111, uint16(3*i), 7) }, true},
		{"the same number again", func(i int) []byte { return packet(111, 5, 7) }, false},
		{"numbers that jump", func(i int) []byte { return packet(111, uint16(100*i), 7) }, false},
		{"numbers that go down", func(i int) []byte { return packet(111, uint16(100-i), 7) }, false},
		{"a source each", func(i int) []byte { return packet(111, uint16(i), uint32(7+i)) }, false},
		{"no source", func(i int) []byte { return packet(111, uint16(i), 0) }, false},
		{"control packets", func(i int) []byte { return packet(200&0x7f, uint16(i), 7) }, false},
		{"another version", func(i int) []byte { b := packet(111, uint16(i), 7); b[0] = 0x40; return b }, false},
		{"too short", func(i int) []byte { return packet(111, uint16(i), 7)[:11] }, false},
	} {
		if got := series(c.change); got != c.want {
			t.Errorf("%s: found %v", c.name, got)
		}
	}
}

// TestIRCWords: one word alone is of many protocols; two make a registration.
func TestIRCWords(t *testing.T) {
	for lines, want := range map[string]string{
		"NICK bob\r\nUSER bob 0 * :Bob\r\n": "register", "nick bob\nuser bob 0 * :Bob\n": "register", "PASS x\r\nNICK bob\r\nUSER bob 0 * :B\r\n": "register",
		"CAP LS 302\r\nNICK bob\r\n": "register", "CAP REQ :sasl\r\nUSER bob 0 * :B\r\n": "register", "JOIN #go\r\n": "message", "PRIVMSG #go :hi\r\n": "message",
		"USER bob\r\nPASS x\r\n": "", "PASS x\r\n": "", "NICK bob\r\n": "", "NICK one two three four\r\nUSER bob 0 * :B\r\n": "", "PRIVMSG bob\r\n": "",
		"JOIN go\r\n": "", "HELLO\r\nNICK bob\r\nUSER bob 0 * :Bob\r\n": "",
	} {
		facts := conversation(lines, "", 6667, false)
		got := ""
		if len(facts) > 0 {
			got = facts[0].Get("command")
		}
		if got != want {
			t.Errorf("%q: found %v, want %q", lines, facts, want)
		}
	}
}

// TestXMPPHeaders: who is called and who calls, in either quote, and nothing of what is not a stream header.
func TestXMPPHeaders(t *testing.T) {
	const ns = "xmlns:stream='http://etherx.jabber.org/streams'"
	for _, c := range []struct{ header, decoder, to, from string }{
		{"<stream:stream to='example.org' " + ns + ">", "xmpp", "example.org", ""},
		{`<?xml version="1.0"?>` + "\n" + `<stream:stream from="bob@example.org" to="Example.ORG" ` + ns + `>`, "xmpp", "example.org", "bob@example.org"},
		{" \n<stream:stream " + ns + ">", "xmpp", "", ""},
		{"<stream:stream to='bad host' " + ns + ">", "xmpp", "", ""},
		{"<stream:stream to='open " + ns + ">", "xmpp", "", ""},
		{"<stream:stream to='example.org'>", "", "", ""},
		{"<stream:stream to='example.org' " + ns, "", "", ""},
		{"<html><body>" + ns + "</body></html>" + strings.Repeat(" ", 600), "", "", ""},
	} {
		facts := conversation(c.header, "", 5222, false)
		if decoderOf(facts) != c.decoder {
			t.Errorf("%q: found %v", c.header, facts)
			continue
		}
		if c.decoder != "" && (facts[0].Get("to") != c.to || facts[0].Get("from") != c.from) {
			t.Errorf("%q: found %v", c.header, facts)
		}
	}
}
