package decode_test

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// datagram gives one payload to the decoders of UDP flows.
func datagram(payload []byte, port uint16) (decode.Fact, bool) {
	var s decode.Datagrams
	facts, _ := s.Look(&decode.Datagram{Payload: payload, FromClient: true, ClientPort: 50000, ServerPort: port})
	if len(facts) == 0 {
		return decode.Fact{}, false
	}
	return facts[0], true
}

func TestSTUNVector(t *testing.T) {
	// RFC 5769, section 2.1
	request := unhex(t, `000100582112a442b7e7a701bc34d686fa87dfae
		802200105354554e207465737420636c69656e74 002400046e0001ff 80290008932ff9b151263b36
		000600096576746a3a68367659202020 000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf`)
	fact, ok := datagram(request, 3478)
	if !ok || fact.Decoder != "stun" || fact.Get("software") != "STUN test client" || fact.Get("method") != "binding" || fact.Get("kind") != "rfc5389" {
		t.Fatalf("found %v", fact)
	}
}

func TestDatagramGrammars(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		port    uint16
		decoder string
		key     string
		value   string
	}{
		{"dns question", flowtest.Question("Chat.Example.org"), 53, "dns", "name", "chat.example.org"},
		{"dns answer", flowtest.Answer("chat.example.org", netip.MustParseAddr("192.0.2.9")), 53, "dns", "answer", "192.0.2.9"},
		{"dns alias", flowtest.Answer("chat.example.org", netip.MustParseAddr("192.0.2.9")), 53, "dns", "alias", "edge.example.net"},
		{"multicast dns is no question", flowtest.Question("chat.local"), 5353, "", "", ""},
		{"turn realm", flowtest.STUN(0x0113, flowtest.Attribute{Kind: 0x14, Value: []byte("signal.org")}), 3478, "stun", "realm", "signal.org"},
		{"stun vendor", flowtest.STUN(0x0003, flowtest.Attribute{Kind: 0x4002, Value: make([]byte, 8)}), 3478, "stun", "vendor", "4002"},
		{"discord", append([]byte{0, 1, 0, 70, 0, 0, 1, 2}, make([]byte, 66)...), 50004, "discord", "kind", "discovery"},
		{"teamspeak", []byte("TS3INIT1\x00\x65\x00\x00\x88"), 9987, "teamspeak", "version", "3"},
		{"mumble", []byte("\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"), 64738, "mumble", "kind", "ping"},
		{"sip", []byte("SIP/2.0 200 OK\r\nVia: x\r\n\r\n"), 5060, "sip", "method", "SIP/2.0"},
		{"zoom", append([]byte{5, 0, 1, 0, 0, 0, 0, 4, 15}, make([]byte, 30)...), 8801, "zoom", "kind", "media"},
		{"zoom elsewhere", append([]byte{5, 0, 1, 0, 0, 0, 0, 4, 15}, make([]byte, 30)...), 8800, "", "", ""},
		{"noise", []byte("\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4\xf3"), 9999, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fact, ok := datagram(c.payload, c.port)
			if c.decoder == "" {
				if ok && fact.Decoder != "skype-candidate" {
					t.Fatalf("found %v", fact)
				}
				return
			}
			if !ok || fact.Decoder != c.decoder || !fact.Has(c.key, c.value) {
				t.Fatalf("found %v, want %s %s=%s", fact, c.decoder, c.key, c.value)
			}
		})
	}
}

func TestRTPNeedsSeveralPackets(t *testing.T) {
	var s decode.Datagrams
	for n := range uint16(4) {
		facts, _ := s.Look(&decode.Datagram{Payload: flowtest.RTP(111, n), FromClient: true, ClientPort: 4000, ServerPort: 4001})
		if found := len(facts) > 0 && facts[0].Decoder == "rtp"; found != (n == 3) {
			t.Fatalf("packet %d: found %v", n, facts)
		}
	}
}

func TestTLSHandshakes(t *testing.T) {
	for _, c := range []struct {
		version     uint16
		text        string
		certificate bool
	}{{tls.VersionTLS13, "1.3", false}, {tls.VersionTLS12, "1.2", true}} {
		chunks, err := flowtest.Handshake("web.example.org", c.version)
		if err != nil {
			t.Fatal(err)
		}
		var s decode.Stream
		in := decode.Segments{ClientPort: 50000, ServerPort: 443}
		var facts []decode.Fact
		for _, chunk := range chunks {
			for _, b := range chunk.Data { // the cruellest network: a byte a segment
				if chunk.FromClient {
					in.Client = append(in.Client, b)
				} else {
					in.Server = append(in.Server, b)
				}
				found, done := s.Look(&in)
				if facts = append(facts, found...); done {
					break
				}
			}
		}
		if len(facts) == 0 || facts[0].Get("name") != "web.example.org" || facts[0].Get("alpn") != "h2" || facts[0].Get("version") != c.text {
			t.Fatalf("%s: found %v", c.text, facts)
		}
		if got := slices.ContainsFunc(facts, func(f decode.Fact) bool { return f.Decoder == "certificate" && f.Get("name") == "web.example.org" }); got != c.certificate {
			t.Errorf("%s: certificate %v: %v", c.text, got, facts)
		}
	}
}

// TestJA4 is the example in FoxIO's JA4 specification: a hello with these parts has this fingerprint.
func TestJA4(t *testing.T) {
	fact, ok := datagram(nil, 443)
	if ok {
		t.Fatalf("nothing gave %v", fact)
	}
	var hello []byte
	list := func(numbers ...uint16) (b []byte) {
		for _, n := range numbers {
			b = append(b, byte(n>>8), byte(n))
		}
		return b
	}
	extension := func(kind uint16, data []byte) []byte {
		return append(append(list(kind), list(uint16(len(data)))...), data...)
	}
	ciphers := list(0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035)
	signatures := list(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
	var extensions []byte
	for _, kind := range []uint16{0x001b, 0, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015} {
		data := []byte{}
		switch kind {
		case 0:
			data = append([]byte{0, 10, 0, 0, 7}, "a.local"...)
		case 0x0010:
			data = append([]byte{0, 3, 2}, "h2"...)
		case 0x000d:
			data = append(list(uint16(len(signatures))), signatures...)
		case 0x002b:
			data = append([]byte{4}, list(0x0304, 0x0303)...)
		}
		extensions = append(extensions, extension(kind, data)...)
	}
	body := append(list(0x0303), make([]byte, 33)...)
	body = append(append(append(body, list(uint16(len(ciphers)))...), ciphers...), 1, 0)
	body = append(append(body, list(uint16(len(extensions)))...), extensions...)
	hello = append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	record := append([]byte{0x16, 3, 1, byte(len(hello) >> 8), byte(len(hello))}, hello...)
	facts := stream(string(record), "")
	if len(facts) == 0 || facts[0].Get("ja4") != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
		t.Fatalf("found %v", facts)
	}
}

func TestMTProto(t *testing.T) {
	facts := stream(string(flowtest.MTProto()), "")
	if len(facts) != 1 || facts[0].Decoder != "mtproto" || facts[0].Get("obfuscated") != "yes" || facts[0].Get("transport") != "abridged" {
		t.Fatalf("found %v", facts)
	}
	other := flowtest.MTProto()
	other[57]++
	if facts := stream(string(other), ""); len(facts) > 0 {
		t.Fatalf("a changed tag gave %v", facts)
	}
}
