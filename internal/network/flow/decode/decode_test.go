package decode_test

import (
	"encoding/hex"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// unhex decodes hex digits with white space between them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits []byte
	for i := range len(s) {
		if s[i] > ' ' {
			digits = append(digits, s[i])
		}
	}
	b, err := hex.DecodeString(string(digits))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stream gives the bytes of both directions to the decoders of TCP flows.
func stream(client, server string) []decode.Fact {
	var s decode.Stream
	facts, _ := s.Look(&decode.Segments{Client: []byte(client), Server: []byte(server), ClientPort: 50000, ServerPort: 443})
	return facts
}

func TestStreamGrammars(t *testing.T) {
	for _, c := range []struct {
		name, client, server string
		decoder, key, value  string
	}{
		{"http", "GET /a?b HTTP/1.1\r\nHost: Chat.Example.ORG:80\r\nUser-Agent: x/1\r\n\r\n", "", "http", "name", "chat.example.org"},
		{"connect", "CONNECT web.example.com:443 HTTP/1.1\r\n\r\n", "", "http", "name", "web.example.com"},
		{"http through a proxy", "GET http://a.example/b HTTP/1.0\r\n\r\n", "", "http", "name", "a.example"},
		{"xmpp", "<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "", "xmpp", "to", "example.org"},
		{"irc", "NICK bob\r\nUSER bob 0 * :Bob\r\n", "", "irc", "command", "register"},
		{"ftp is not irc", "USER bob\r\nPASS x\r\n", "220 ready\r\n", "", "", ""},
		{"sip", "REGISTER sip:example.org SIP/2.0\r\nUser-Agent: phone\r\n\r\n", "", "sip", "agent", "phone"},
		{"msnp", "VER 1 MSNP15 CVR0\r\n", "", "msnp", "version", "MSNP15"},
		{"whatsapp", "WA\x06\x03\x00\x00\x24\x12", "", "whatsapp", "form", "noise"},
		{"whatsapp behind an edge header", "ED\x00\x01\x00\x00\x02abWA\x06\x03\x00\x00\x24", "", "whatsapp", "form", "edge"},
		{"oscar", "*\x01\x00\x01\x00\x04\x00\x00\x00\x01", "*\x01\x00\x01\x00\x04\x00\x00\x00\x01", "oscar", "kind", "flap"},
		{"mtproto in clear", "\xef\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02", "", "mtproto", "transport", "abridged"},
		{"mmtls", "\x16\xf1\x03\x00\x10aaaaaaaa", "", "mmtls", "version", "f13"},
		{"nothing", "hello world, this is nothing that anybody knows and it goes on for a while longer than 64 bytes", "", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := stream(c.client, c.server)
			if c.decoder == "" {
				if len(facts) > 0 {
					t.Fatalf("found %v", facts)
				}
				return
			}
			if len(facts) == 0 || facts[0].Decoder != c.decoder || facts[0].Get(c.key) != c.value {
				t.Fatalf("found %v, want %s %s=%s", facts, c.decoder, c.key, c.value)
			}
		})
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), []byte(""), uint16(80))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"), []byte("\x16\x03\x03\x00\x04\x02\x00\x00\x00"), uint16(443))
	f.Add([]byte("*\x01\x00\x01\x00\x00"), []byte("*\x01\x00\x01\x00\x00"), uint16(5190))
	f.Add([]byte("\x00\x14\x00\x01\x00\x00\x21\x12\xa4\x42aaaaaaaaaaaa"), []byte(""), uint16(3478))
	f.Add([]byte("<stream:stream to='a"), []byte(":a NOTICE b :c\r\n"), uint16(5222))
	f.Add([]byte(""), []byte("\x00\x11\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"), uint16(53))
	f.Add([]byte("\x05\x02\x00\x02\x01\x01u\x02pw\x05\x01\x00\x03\x04a.bc\x01\xbbWA\x06\x03\x00\x00\x24"), []byte("\x05\x02\x01\x00\x05\x00\x00\x03\x01a\x00\x01"), uint16(1080))
	f.Add([]byte("\x04\x01\x01\xbb\x00\x00\x00\x01me\x00a.bc\x00GET / HTTP/1.1\r\n\r\n"), []byte("\x00\x5a\x00\x00\x00\x00\x00\x00"), uint16(1080))
	f.Add([]byte("CONNECT a.bc:443 HTTP/1.1\r\n\r\nNICK a\r\nUSER a b c d\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n"), uint16(3128))
	f.Add([]byte("\x80\x00\x10aaaaaaaaaaaaaaaa"), []byte("\x80\x00\x10aaaaaaaaaaaaaaaa"), uint16(5222))
	f.Add([]byte("\x17\x03\x03\x00\x10aaaaaaaaaaaaaaaa"), []byte("\xf3\x91\x0e\xc4\x77\x12\x9a\xe5\x61\xb8\x3d\xd6\x90\x4c\x2f\xa1\x58"), uint16(5222))
	f.Fuzz(func(t *testing.T, client, server []byte, port uint16) {
		for _, middle := range []bool{false, true} {
			var s decode.Stream
			for cut := 1; cut <= len(client)+1; cut = cut*2 + 1 {
				_, done := s.Look(&decode.Segments{Client: client[:min(cut, len(client))], Server: server, ServerPort: port, Middle: middle})
				if done {
					break
				}
			}
			s.Last(&decode.Segments{Client: client, Server: server, ServerPort: port, Middle: middle})
		}
	})
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x01\x02\x03\x04"), uint16(53))
	f.Add([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42aaaaaaaaaaaa"), uint16(3478))
	f.Add([]byte("\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01"), uint16(5000))
	f.Add([]byte("REGISTER sip:a SIP/2.0\r\n"), uint16(5060))
	f.Add([]byte("INVITE sip:a SIP/2.0\r\n\r\nc=IN IP4 1.2.3.4\r\nm=audio 5 RTP/AVP 0\r\n"), uint16(5060))
	f.Add([]byte("\x01\x03\x00\x0c\x21\x12\xa4\x42aaaaaaaaaaaa\x00\x16\x00\x08\x00\x01\x12\x34\x56\x78\x9a\xbc"), uint16(3478))
	f.Add([]byte("\x01\x08\xac\x02\x10\x01"), uint16(64738))
	f.Add([]byte("\x81\xc9\x00\x07\x00\x00\x12\x34aaaaaaaaaaaaaaaaaaaaaaaa\x81\xca\x00\x01\x00\x00\x12\x34"), uint16(5001))
	f.Add([]byte("\x80\xc9\x00\x01\x00\x00\x12\x34\x80\x00\x00\x01\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"), uint16(5001))
	f.Add([]byte("\x12\x34\x07\x01\x02\x03\x04\x05\x06\x07\x08"), uint16(33033))
	f.Fuzz(func(t *testing.T, payload []byte, port uint16) {
		var s decode.Datagrams
		for range 3 {
			s.Look(&decode.Datagram{Payload: payload, FromClient: true, ClientPort: 50000, ServerPort: port})
			s.Look(&decode.Datagram{Payload: payload, ClientPort: 50000, ServerPort: port})
		}
	})
}
