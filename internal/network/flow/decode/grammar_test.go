package decode_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// conversation gives both directions of a flow on a port to the decoders, from its middle or its beginning.
func conversation(client, server string, port uint16, middle bool) []decode.Fact {
	var s decode.Stream
	facts, _ := s.Look(&decode.Segments{Client: []byte(client), Server: []byte(server), ClientPort: 50000, ServerPort: port, Middle: middle})
	return facts
}

// decoderOf returns the decoder of the first fact, "" when there is none.
func decoderOf(facts []decode.Fact) string {
	if len(facts) == 0 {
		return ""
	}
	return facts[0].Decoder
}

func TestConversations(t *testing.T) {
	loco := "\x01\x00\x00\x00\x00\x00GETCONF\x00\x00\x00\x00\x00\x10\x00\x00\x00"
	stunTCP := string(flowtest.STUN(3))
	for _, c := range []struct {
		name           string
		client, server string
		port           uint16
		middle         bool
		want           string
	}{
		{"xmpp iq from the middle", "<iq type='set' id='1' to='example.org'>", "", 5222, true, "xmpp"},
		{"xmpp iq at the beginning is none", "<iq type='set' id='1' to='example.org'>" + strings.Repeat(" ", 600), "", 5222, false, ""},
		{"xmpp message from the middle, other way round", "", "<message to='a@example.org' type='chat'>", 5222, true, "xmpp"},
		{"xmpp presence without addresses", "<presence id='x'>", "x", 5222, true, ""},
		{"xmpp end", "</stream:stream>", "", 5222, true, "xmpp"},
		{"xml that is not xmpp", "<?xml version='1.0'?><soap:Envelope xmlns='x'>" + strings.Repeat("x", 600), "y", 80, false, ""},
		{"xmpp of another namespace", "<stream:stream to='a' xmlns:stream='urn:other'>", "", 5222, false, ""},
		{"irc server", "", ":irc.example.org NOTICE * :*** Looking up your hostname\r\n", 6667, false, "irc"},
		{"irc welcome", "", ":irc.example.org 001 bob :Welcome\r\n", 6667, false, "irc"},
		{"irc notice auth", "", "NOTICE AUTH :*** Checking ident\r\n", 6667, false, "irc"},
		{"irc cap", "CAP LS 302\r\nNICK bob\r\nUSER bob 0 * :b\r\n", "", 6667, false, "irc"},
		{"irc channel", "JOIN #chat\r\n", "", 6667, false, "irc"},
		{"irc private message", "PRIVMSG bob :hello\r\n", "", 6667, false, "irc"},
		{"smtp is not irc", "HELO a\r\n", "220 mail.example.org ESMTP\r\n", 25, false, ""},
		{"sip response", "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP a\r\n\r\n", "", 5060, false, "sip"},
		{"sip to a phone number", "INVITE tel:+1555 SIP/2.0\r\n\r\n", "", 5060, false, "sip"},
		{"rtsp is not sip", "OPTIONS rtsp://a/b RTSP/1.0\r\n\r\n", "", 554, false, "http"},
		{"msn answer", "ANS 89 a@example.org 1.2 3\r\n", "", 1863, false, "msnp"},
		{"msn user", "USR 178 a@example.org 1.2\r\n", "", 1863, false, "msnp"},
		{"msn message", "MSG 77 U 89\r\nMIME-Version: 1.0\r\n", "", 1863, true, "msnp"},
		{"msn ping", "PNG\r\n", "QNG 45\r\n", 1863, true, "msnp"},
		{"ping that nobody answers so", "PNG\r\n", "PONG!!!\r\n", 1863, true, ""},
		{"msn with a word too few", "VER 1\r\n", "", 1863, false, ""},
		{"oscar file", "OFT2\x01\x00\x01\x01", "", 5190, false, "oscar"},
		{"oscar direct", "ODC2\x00\x4c", "", 5190, false, "oscar"},
		{"flap channel 9", "*\x09\x00\x01\x00\x00*\x09\x00\x01\x00\x00", "", 5190, false, ""},
		{"intermediate", "\xee\xee\xee\xee\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "", 443, false, "mtproto"},
		{"padded", "\xdd\xdd\xdd\xdd\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "", 443, false, "mtproto"},
		{"abridged with a key", "\xef\x0a\x01\x02\x03\x04\x05\x06\x07\x08" + strings.Repeat("\x90", 80), "", 443, false, ""},
		{"whatsapp with an absurd edge header", "ED\x00\x01\xff\x00\x00" + strings.Repeat("a", 64), "", 443, false, ""},
		{"whatsapp of version 99", "WA\x63\x03\x00\x00\x10\x01", "", 443, false, ""},
		{"mmtls of length zero", "\x16\xf1\x03\x00\x00" + strings.Repeat("\x90", 64), "", 443, false, ""},
		{"loco", loco, "", 443, false, "loco"},
		{"loco in small letters", strings.ToLower(loco) + strings.Repeat("\x90", 64), "", 443, false, ""},
		{"viber", "\x0c\x00\x0a\x00\x00\x00abcdef", "", 4244, false, "viber"},
		{"viber elsewhere", "\x0c\x00\x0a\x00\x00\x00abcdef" + strings.Repeat("\x90", 64), "", 4245, false, ""},
		{"skype login", "\x16\x03\x01\x00\x00", "\x17\x03\x01\x00\x00", 443, false, "skype-login"},
		{"threema sizes", strings.Repeat("\x90", 48), strings.Repeat("\x91", 80), 5222, false, "threema"},
		{"threema sizes elsewhere", strings.Repeat("\x90", 48), strings.Repeat("\x91", 80), 5223, false, ""},
		{"stun over tcp", stunTCP, "", 3478, false, "stun"},
		{"stun framed", "\x00\x14" + stunTCP, "", 3478, false, "stun"},
		{"dns over tcp", "", "\x00" + string(rune(len(flowtest.Question("a.example")))) + string(flowtest.Question("a.example")), 53, false, "dns"},
		{"http without an end", "GET / HTTP/1.1\r\nHost: a.example\r\nX: " + strings.Repeat("y", 9000), "", 80, false, "http"},
		{"http answer from the middle", "", "HTTP/1.1 200 OK\r\n\r\n", 80, true, ""},
		{"websocket", "GET /chat HTTP/1.1\r\nhost:  WS.example \r\nUpgrade: websocket\r\n\r\n", "", 80, false, "http"},
		{"alert", "\x15\x03\x01\x00\x02\x02\x28", "", 443, false, ""},
		{"empty tls record", "\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00", "x", 443, false, ""},
		{"tls record of another kind of handshake", "\x16\x03\x03\x00\x04\x02\x00\x00\x00", "", 443, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := decoderOf(conversation(c.client, c.server, c.port, c.middle)); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestPiecesDoNotChangeTheAnswer gives each beginning byte by byte: what is known at the end is known of the pieces too.
func TestPiecesDoNotChangeTheAnswer(t *testing.T) {
	for want, whole := range map[string]string{
		"http": "POST /x HTTP/1.1\r\nHost: a.example\r\n\r\n", "xmpp": "<?xml version='1.0'?><stream:stream to='a.example' xmlns:stream='http://etherx.jabber.org/streams'>",
		"irc": "NICK bob\r\nUSER bob 0 * :b\r\n", "sip": "MESSAGE sip:a SIP/2.0\r\n\r\n", "msnp": "VER 1 MSNP8 CVR0\r\n", "whatsapp": "ED\x00\x01\x00\x00\x01xWA\x06\x03\x00\x00\x20",
		"oscar": "*\x01\x00\x01\x00\x01x*\x02\x00\x02\x00\x01y", "mtproto": string(flowtest.MTProto()), "mmtls": "\x19\xf1\x04\x00\x20", "stun": string(flowtest.STUN(1)),
	} {
		var s decode.Stream
		got, done := "", false
		for n := 1; n <= len(whole) && !done; n++ {
			var facts []decode.Fact
			facts, done = s.Look(&decode.Segments{Client: []byte(whole[:n]), ClientPort: 50000, ServerPort: 443})
			if len(facts) > 0 {
				got = facts[0].Decoder
			}
		}
		if got != want {
			t.Errorf("%s: found %q", want, got)
		}
	}
}

// TestDecodersGiveUp: bytes of nothing end the looking, so that a flow costs nothing more.
func TestDecodersGiveUp(t *testing.T) {
	noise := bytes.Repeat([]byte("\x8f\xa1\xb3\xc5"), 300)
	var s decode.Stream
	if facts, done := s.Look(&decode.Segments{Client: noise, Server: noise, ClientPort: 50000, ServerPort: 9999}); !done || len(facts) > 0 {
		t.Errorf("found %v, done %v", facts, done)
	}
}

func TestOldSTUN(t *testing.T) {
	message := func(kind uint16, attributes ...byte) []byte {
		b := make([]byte, 20, 20+len(attributes))
		binary.BigEndian.PutUint16(b, kind)
		binary.BigEndian.PutUint16(b[2:], uint16(len(attributes)))
		copy(b[4:], "sixteen bytes id")
		return append(b, attributes...)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"binding", message(1), "rfc3489"},
		{"binding with CHANGE-REQUEST", message(1, 0, 3, 0, 4, 0, 0, 0, 6), "rfc3489"},
		{"attributes that do not fill it", message(1, 0, 3, 0, 8, 0, 0, 0, 6), ""},
		{"a kind that nobody knows", message(0x0555), ""},
		{"allocate without attributes", message(3), ""},
		{"an attribute of the forbidden range", message(1, 0x30, 0, 0, 0), ""},
	} {
		fact, ok := datagram(c.b, 3478)
		if got := fact.Get("kind"); ok && fact.Decoder == "stun" && got != c.want || c.want != "" && got != c.want {
			t.Errorf("%s: found %v", c.name, fact)
		}
	}
}

func TestDNSThatLies(t *testing.T) {
	good := flowtest.Question("a.example.org")
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, b := range map[string][]byte{
		"a pointer to itself":  change(12, 0xc0, 12),
		"a pointer forward":    change(12, 0xc0, 40),
		"a label of 70 bytes":  change(12, 70),
		"a label past the end": change(12, 63),
		"two questions":        change(4, 0, 2),
		"an update":            change(2, 0x28),
		"cut":                  good[:16],
		"another class":        change(len(good)-2, 0, 3),
		"a name of no host":    change(13, ' '),
	} {
		if fact, ok := datagram(b, 53); ok && fact.Decoder == "dns" {
			t.Errorf("%s: found %v", name, fact)
		}
	}
}

func TestDTLSHello(t *testing.T) {
	body := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	body = append(body, 0, 4, 'c', 'o', 'o', 'k', 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0, 0, 0)
	handshake := append([]byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	record := append([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(handshake))}, handshake...)
	fact, ok := datagram(record, 5000)
	if !ok || fact.Decoder != "dtls" || fact.Get("kind") != "hello" || !strings.HasPrefix(fact.Get("ja4"), "dd2i0200") {
		t.Errorf("found %v", fact)
	}
	for n := range record {
		datagram(record[:n], 5000)
	}
}

func TestOldGoogleQUIC(t *testing.T) {
	hello := []byte("\x0d\x01\x02\x03\x04\x05\x06\x07\x08Q043\x01" + strings.Repeat("h", 12) + "\xa0\x01\x00CHLO\x02\x00\x00\x00SNI\x00\x0e\x00\x00\x00UAID\x14\x00\x00\x00www.google.comChrome")
	fact, ok := datagram(hello, 443)
	if !ok || fact.Decoder != "quic" || fact.Get("name") != "www.google.com" || fact.Get("agent") != "Chrome" {
		t.Errorf("found %v", fact)
	}
	for n := range hello {
		datagram(hello[:n], 443)
	}
}

// TestValuesAreBounded: what comes from the wire and is kept is printable and short.
func TestValuesAreBounded(t *testing.T) {
	for _, b := range []string{
		"GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 300) + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: bad\x01host\r\n\r\n",
		"GET /" + strings.Repeat("p", 4000) + " HTTP/1.1\r\nUser-Agent: " + strings.Repeat("u", 4000) + "\r\n\r\n",
	} {
		for _, f := range conversation(b, "", 80, false) {
			for _, a := range f.Attrs {
				if len(a.Value) > 255 || strings.ContainsFunc(a.Value, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("%s is %q", a.Key, a.Value)
				}
			}
		}
	}
}
