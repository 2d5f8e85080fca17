package decode_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// specimen is a beginning that one decoder must know, made from the words of its specification.
type specimen struct {
	name    string
	bytes   []byte
	port    uint16
	decoder string
}

// helloExtension is one extension of a TLS hello (RFC 8446, section 4.2).
func helloExtension(kind uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// helloBody is a ClientHello (RFC 8446, section 4.1.2) with a name (RFC 6066, section 3) and a protocol (RFC 7301, section 3.1).
func helloBody(name, protocol string) []byte {
	var extensions []byte
	if name != "" {
		entry := append([]byte{0, 0, byte(len(name))}, name...)
		extensions = append(extensions, helloExtension(0, append([]byte{0, byte(len(entry))}, entry...))...)
	}
	if protocol != "" {
		entry := append([]byte{byte(len(protocol))}, protocol...)
		extensions = append(extensions, helloExtension(16, append([]byte{0, byte(len(entry))}, entry...))...)
	}
	body := append([]byte{3, 3}, bytes.Repeat([]byte{0x5a}, 32)...)
	body = append(body, 0, 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0)
	body = binary.BigEndian.AppendUint16(body, uint16(len(extensions)))
	return append(body, extensions...)
}

// records wraps a handshake message in TLS records of at most size bytes.
func records(kind byte, body []byte, size int) (out []byte) {
	message := append([]byte{kind, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	for len(message) > 0 {
		n := min(size, len(message))
		out = append(out, 0x16, 3, 1, byte(n>>8), byte(n))
		out = append(out, message[:n]...)
		message = message[n:]
	}
	return out
}

func streamSpecimens() []specimen {
	return []specimen{
		{"tls hello", records(1, helloBody("web.example.org", "h2"), 1<<14), 443, "tls"},
		{"tls hello over small records", records(1, helloBody("web.example.org", "h2"), 7), 443, "tls"},
		{"tls hello without a name", records(1, helloBody("", ""), 1<<14), 8443, "tls"},
		{"http get", []byte("GET /a HTTP/1.1\r\nHost: web.example.org\r\nAccept: */*\r\n\r\n"), 80, "http"},
		{"http connect", []byte("CONNECT web.example.org:443 HTTP/1.1\r\n\r\n"), 3128, "http"},
		{"http/2 preface", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 80, "http"},
		{"stun over tcp", flowtest.STUN(3, flowtest.Attribute{Kind: 0x19, Value: []byte{17, 0, 0, 0}}), 3478, "stun"},
		{"xmpp header", []byte("<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"), 5222, "xmpp"},
		{"irc registration", []byte("CAP LS 302\r\nNICK bob\r\nUSER bob 0 * :Bob\r\n"), 6667, "irc"},
		{"sip invite", []byte("INVITE sip:bob@example.org SIP/2.0\r\nUser-Agent: phone/1\r\nContent-Length: 0\r\n\r\n"), 5060, "sip"},
		{"msnp version", []byte("VER 1 MSNP18 CVR0\r\n"), 1863, "msnp"},
		{"oscar frames", []byte("*\x01\x00\x01\x00\x04\x00\x00\x00\x01*\x02\x00\x02\x00\x02ab"), 5190, "oscar"},
		{"mtproto abridged", append([]byte{0xef, 0x0a}, make([]byte, 40)...), 443, "mtproto"},
		{"mtproto full", append([]byte("\x34\x00\x00\x00"+strings.Repeat("\x00", 12)+"\x7c\x6a\xd2\x0e\x9a\x1a\x07\x6b\x14\x00\x00\x00\xf1\x8e\x7e\xbe"), bytes.Repeat([]byte{0x5a}, 20)...), 443, "mtproto"},
		{"mtproto obfuscated", flowtest.MTProto(), 443, "mtproto"},
		{"whatsapp", []byte("WA\x06\x03\x00\x00\x24\x12\x22\x0a"), 5222, "whatsapp"},
		{"whatsapp behind an edge", []byte("ED\x00\x01\x00\x00\x04\x08\x01\x10\x02WA\x06\x03\x00\x00\x24"), 443, "whatsapp"},
		{"mmtls", append([]byte{0x16, 0xf1, 4, 0, 32}, bytes.Repeat([]byte{0x91}, 32)...), 8080, "mmtls"},
		{"loco", []byte("\x01\x00\x00\x00\x00\x00CHECKIN\x00\x00\x00\x00\x00\x10\x00\x00\x00"), 995, "loco"},
		{"viber", []byte("\x0c\x00\x0a\x00\x00\x00abcdef"), 5242, "viber"},
	}
}

func datagramSpecimens() []specimen {
	addr := netip.MustParseAddr("192.0.2.9")
	return []specimen{
		{"dns question", flowtest.Question("chat.example.org"), 53, "dns"},
		{"dns answer", flowtest.Answer("chat.example.org", addr), 53, "dns"},
		{"stun binding", flowtest.STUN(1), 3478, "stun"},
		{"turn allocate", flowtest.STUN(3, flowtest.Attribute{Kind: 0x14, Value: []byte("realm.example")}), 3478, "stun"},
		{"dtls record", sized(40, 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 27), 5000, "dtls"},
		{"sip register", []byte("REGISTER sip:example.org SIP/2.0\r\nUser-Agent: phone\r\n\r\n"), 5060, "sip"},
		{"discord discovery", sized(74, 0, 1, 0, 70, 0, 0, 1, 2), 50004, "discord"},
		{"discord ping", []byte("\x13\x37\xca\xfe\x00\x00\x00\x01"), 50004, "discord"},
		{"oicq", append(sized(30, 2, 0x37, 0x13), 3), 8000, "oicq"},
		{"mumble", []byte("\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"), 64738, "mumble"},
		{"teamspeak", []byte("TS3INIT1\x00\x65\x00\x00\x88"), 9987, "teamspeak"},
		{"viber", sized(34, 1, 2, 0x19, 0), 7987, "viber"},
		{"opendht", []byte("\x85\xa1a\x81\xa2id\xc4\x14" + strings.Repeat("\x9b", 20) + "\xa1q\xa4ping\xa1t\xce\xec\x99\x34\x97\xa1y\xa1q\xa1v\xa4RNG1"), 4222, "opendht"},
		{"zoom", append([]byte{5, 0, 1, 0, 0, 0, 0, 4, 15}, make([]byte, 30)...), 8801, "zoom"},
	}
}

// TestSpecimensAreKnown: every decoder knows what its specification says a beginning is.
func TestSpecimensAreKnown(t *testing.T) {
	for _, s := range streamSpecimens() {
		if got := decoderOf(conversation(string(s.bytes), "", s.port, false)); got != s.decoder {
			t.Errorf("%s over TCP: found %q, want %q", s.name, got, s.decoder)
		}
	}
	for _, s := range datagramSpecimens() {
		if fact, _ := datagram(s.bytes, s.port); fact.Decoder != s.decoder {
			t.Errorf("%s over UDP: found %q, want %q", s.name, fact.Decoder, s.decoder)
		}
	}
}

// TestTruncatedStreamsClaimNothingElse: whatever part of a beginning has come, no other protocol is found in it.
func TestTruncatedStreamsClaimNothingElse(t *testing.T) {
	for _, s := range streamSpecimens() {
		for n := range s.bytes {
			for _, middle := range []bool{false, true} {
				for _, f := range conversation(string(s.bytes[:n]), "", s.port, middle) {
					if f.Decoder != s.decoder {
						t.Errorf("%s, %d of %d bytes, middle %v: found %v", s.name, n, len(s.bytes), middle, f)
					}
				}
			}
		}
	}
}

// TestTruncatedDatagramsClaimNothingElse: the same of datagrams, which come whole or not at all.
func TestTruncatedDatagramsClaimNothingElse(t *testing.T) {
	for _, s := range datagramSpecimens() {
		for n := range s.bytes {
			fact, ok := datagram(s.bytes[:n], s.port)
			if ok && fact.Decoder != s.decoder && fact.Decoder != "skype-candidate" {
				t.Errorf("%s, %d of %d bytes: found %v", s.name, n, len(s.bytes), fact)
			}
		}
	}
}

// TestCutDatagramsClaimNothingElse: a capture that holds the beginnings of packets only leads nobody astray.
func TestCutDatagramsClaimNothingElse(t *testing.T) {
	for _, s := range datagramSpecimens() {
		for n := range s.bytes {
			var d decode.Datagrams
			facts, _ := d.Look(&decode.Datagram{Payload: s.bytes[:n], Cut: true, FromClient: true, ClientPort: 50000, ServerPort: s.port})
			for _, f := range facts {
				if f.Decoder != s.decoder && f.Decoder != "skype-candidate" {
					t.Errorf("%s, %d of %d bytes: found %v", s.name, n, len(s.bytes), f)
				}
			}
		}
	}
}

// TestSpecimensFromTheMiddle: when nobody saw who began, the direction does not matter.
func TestSpecimensFromTheMiddle(t *testing.T) {
	for _, s := range streamSpecimens() {
		if s.decoder == "viber" { // known by the server's port
			continue
		}
		if got := decoderOf(conversation("", string(s.bytes), s.port, true)); got != s.decoder {
			t.Errorf("%s: found %q, want %q", s.name, got, s.decoder)
		}
		if got := decoderOf(conversation("", string(s.bytes), s.port, false)); got != "" {
			t.Errorf("%s: the server's words were taken for the client's: %q", s.name, got)
		}
	}
}

// TestChangedBytesStayHarmless changes each byte of each specimen: nothing panics, and what is kept is bounded and printable.
func TestChangedBytesStayHarmless(t *testing.T) {
	check := func(name string, facts ...decode.Fact) {
		for _, f := range facts {
			if len(f.Attrs) > 40 {
				t.Errorf("%s: %d values", name, len(f.Attrs))
			}
			for _, a := range f.Attrs {
				if a.Value == "" || len(a.Value) > 255 || strings.ContainsFunc(a.Value, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("%s: %s is %q", name, a.Key, a.Value)
				}
			}
		}
	}
	for _, with := range []byte{0x00, 0x01, 0x7f, 0x80, 0xff} {
		for _, s := range streamSpecimens() {
			for i := range s.bytes {
				b := bytes.Clone(s.bytes)
				b[i] = with
				check(fmt.Sprintf("%s, byte %d is %#x", s.name, i, with), conversation(string(b), "", s.port, false)...)
			}
		}
		for _, s := range datagramSpecimens() {
			for i := range s.bytes {
				b := bytes.Clone(s.bytes)
				b[i] = with
				if fact, ok := datagram(b, s.port); ok {
					check(fmt.Sprintf("%s, byte %d is %#x", s.name, i, with), fact)
				}
			}
		}
	}
}

// TestFactsAreOfListedDecoders: what a decoder finds is in the list that signatures of the catalog are checked with.
func TestFactsAreOfListedDecoders(t *testing.T) {
	listed := map[string]map[string]bool{}
	for _, d := range decode.Decoders() {
		listed[d.Name] = map[string]bool{}
		for _, v := range d.Values {
			listed[d.Name][v] = true
		}
	}
	check := func(f decode.Fact) {
		keys, ok := listed[f.Decoder]
		if !ok {
			t.Errorf("%s is not listed", f.Decoder)
		}
		for _, a := range f.Attrs {
			if !keys[a.Key] {
				t.Errorf("%s: %s is not listed", f.Decoder, a.Key)
			}
		}
	}
	for _, s := range streamSpecimens() {
		for _, f := range conversation(string(s.bytes), "", s.port, false) {
			check(f)
		}
	}
	for _, s := range datagramSpecimens() {
		if f, ok := datagram(s.bytes, s.port); ok {
			check(f)
		}
	}
}
