package decode_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// sealed is n bytes that look encrypted.
func sealed(n int, seed uint64) []byte {
	r, b := rand.New(rand.NewPCG(seed, 1)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// told gives the bytes of both directions to the decoders, the client's first, then the server's, byte by byte, and returns all facts.
func told(client, server []byte) (facts []decode.Fact, done bool) {
	var s decode.Stream
	for n := 1; n <= len(client)+len(server) && !done; n++ {
		in := &decode.Segments{Client: client[:min(n, len(client))], Server: server[:max(0, n-len(client))], ClientPort: 50000, ServerPort: 1080}
		var more []decode.Fact
		more, done = s.Look(in)
		facts = append(facts, more...)
	}
	return facts, done
}

func names(facts []decode.Fact) (out []string) {
	for _, f := range facts {
		out = append(out, f.Decoder+" "+f.Get("name"))
	}
	return out
}

// TestTunnelsAreOpened: behind a proxy's preface the flow it was asked for is read, however the bytes are cut; refused, unfinished and
// nested ones are not.
func TestTunnelsAreOpened(t *testing.T) {
	mtproto := string(flowtest.MTProto())
	for _, c := range []struct {
		name, client, server string
		want                 []string
	}{
		{"connect by address", "CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n" + mtproto, "HTTP/1.1 200 OK\r\n\r\n", []string{"http 192.0.2.1", "mtproto "}},
		{"connect, refused", "CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n" + mtproto, "HTTP/1.1 407 No\r\n\r\n", []string{"http 192.0.2.1"}},
		{"socks 5 by name", "\x05\x01\x00\x05\x01\x00\x03\x0bchat.ex.org\x01\xbb" + mtproto, "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", []string{"socks chat.ex.org", "mtproto "}},
		{"socks 5 by address, with a password", "\x05\x02\x00\x02\x01\x01u\x02pw\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb" + mtproto, "\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", []string{"socks ", "mtproto "}},
		{"socks 5, refused", "\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb" + mtproto, "\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", []string{"socks "}},
		{"socks 5 to bind", "\x05\x01\x00\x05\x02\x00\x01\xc0\x00\x02\x01\x01\xbb", "\x05\x00", nil},
		{"socks 5 of a method that was not offered", "\x05\x01\x00", "\x05\x01", nil},
		{"socks 4", "\x04\x01\x01\xbb\xc0\x00\x02\x01me\x00" + mtproto, "\x00\x5a\x01\xbb\xc0\x00\x02\x01", []string{"socks ", "mtproto "}},
		{"socks 4a", "\x04\x01\x01\xbb\x00\x00\x00\x01\x00chat.ex.org\x00" + mtproto, "\x00\x5a\x01\xbb\xc0\x00\x02\x01", []string{"socks chat.ex.org", "mtproto "}},
		{"socks 4, to port 0", "\x04\x01\x00\x00\xc0\x00\x02\x01me\x00", "", nil},
		{"a tunnel in a tunnel", "CONNECT 192.0.2.1:1 HTTP/1.1\r\n\r\nCONNECT 192.0.2.2:1 HTTP/1.1\r\n\r\n" + mtproto, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", []string{"http 192.0.2.1", "http 192.0.2.2"}},
	} {
		facts, _ := told([]byte(c.client), []byte(c.server))
		if got := names(facts); !slices.Equal(got, c.want) {
			t.Errorf("%s, byte by byte: %q, want %q", c.name, got, c.want)
		}
		var at decode.Stream
		facts, _ = at.Look(&decode.Segments{Client: []byte(c.client), Server: []byte(c.server), ClientPort: 50000, ServerPort: 1080})
		if got := names(facts); !slices.Equal(got, c.want) {
			t.Errorf("%s, at once: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestOpaqueFlows: what cannot be read from its first byte on is said to be, when nothing else was said, and once both sides have shown it.
func TestOpaqueFlows(t *testing.T) {
	for _, c := range []struct {
		name           string
		client, server []byte
		middle         bool
		want           string
	}{
		{"both sides", sealed(90, 1), sealed(90, 2), false, "both"},
		{"the server has not spoken", sealed(90, 1), nil, false, "client"},
		{"the server speaks clearly", sealed(90, 1), []byte("220 mail.example.org ready for you, whoever you are\r\n"), false, ""},
		{"text", []byte("hello, this is nothing that anybody knows and it goes on for a while longer than 64 bytes do"), sealed(90, 2), false, ""},
		{"it begins with six letters", append([]byte("abcdef"), sealed(90, 1)...), sealed(90, 2), false, ""},
		{"zeroes", make([]byte, 90), make([]byte, 90), false, ""},
		{"its beginning was not seen", sealed(90, 1), sealed(90, 2), true, ""},
		{"a known protocol", flowtest.MTProto(), sealed(90, 2), false, ""},
		{"too little", sealed(12, 1), sealed(12, 2), false, ""},
	} {
		var s decode.Stream
		in := &decode.Segments{Client: c.client, ClientPort: 50000, ServerPort: 31010, Middle: c.middle}
		_, done := s.Look(in)
		if c.want == "both" && done {
			t.Errorf("%s: done before the server spoke", c.name)
		}
		in.Server = c.server
		s.Look(in)
		got := ""
		for _, f := range s.Last(in) {
			got = f.Get("sides")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	var s decode.Stream
	if _, done := s.Look(&decode.Segments{Client: sealed(4<<10, 3), ServerPort: 31010}); !done {
		t.Error("a client that goes on alone is waited for without end")
	}
}

// TestMiddles: sessions whose beginning nobody saw.
func TestMiddles(t *testing.T) {
	frame := func(flag byte, n int) []byte {
		return append([]byte{flag, byte(n >> 8), byte(n)}, sealed(n, uint64(n))...)
	}
	record := append([]byte{23, 3, 3, 0, 40}, sealed(40, 1)...)
	for _, c := range []struct {
		name           string
		client, server []byte
		port           uint16
		want           string
	}{
		{"tls", record, record, 5222, "tls-record "},
		{"noise frames", append(frame(0, 40), frame(0, 90)...), frame(0, 70), 443, "whatsapp-frames noise"},
		{"fun frames", frame(0x80, 40), frame(0x80, 44), 5222, "whatsapp-frames fun"},
		{"one side has other flags", frame(0x80, 40), frame(0, 44), 5222, " "},
		{"frames that do not end", append(frame(0, 40), 0, 1), frame(0, 70), 443, " "},
		{"lengths that lie", append(frame(0, 40), 7, 7, 7), frame(0, 70), 443, " "},
		{"viber", append([]byte{22, 0}, sealed(20, 1)...), append([]byte{30, 0}, sealed(28, 2)...), 4244, "viber tcp"},
		{"viber whose server's frames do not end", append([]byte{22, 0}, sealed(20, 1)...), append([]byte{30, 0}, sealed(29, 2)...), 4244, " "},
		{"another port", frame(0, 40), frame(0, 70), 8443, " "},
		{"short frames prove nothing", frame(0, 4), frame(0, 5), 443, " "},
	} {
		var s decode.Stream
		facts, _ := s.Look(&decode.Segments{Client: c.client, Server: c.server, ServerPort: c.port, ClientPort: 50000, Middle: true})
		got := " "
		if len(facts) > 0 {
			got = facts[0].Decoder + " " + facts[0].Get("form")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLocoSecure: the beginning of LOCO's secure layer, in pieces, and what only resembles it.
func TestLocoSecure(t *testing.T) {
	for _, c := range []struct {
		name, head string
		body       []byte
		want       bool
	}{
		{"as published", "\x00\x01\x00\x00\x0c\x00\x00\x00\x02\x00\x00\x00", sealed(256, 1), true},
		{"a later cipher", "\x00\x01\x00\x00\x0f\x00\x00\x00\x03\x00\x00\x00", sealed(256, 1), true},
		{"another size of key", "\x00\x02\x00\x00\x0c\x00\x00\x00\x02\x00\x00\x00", sealed(256, 1), false},
		{"another way to seal", "\x00\x01\x00\x00\x0b\x00\x00\x00\x02\x00\x00\x00", sealed(256, 1), false},
		{"another cipher", "\x00\x01\x00\x00\x0c\x00\x00\x00\x04\x00\x00\x00", sealed(256, 1), false},
		{"nothing sealed", "\x00\x01\x00\x00\x0c\x00\x00\x00\x02\x00\x00\x00", make([]byte, 256), false},
	} {
		facts, _ := told(append([]byte(c.head), c.body...), nil)
		if got := len(facts) == 1 && facts[0].Decoder == "loco" && facts[0].Get("method") == "secure"; got != c.want {
			t.Errorf("%s: %v", c.name, facts)
		}
	}
}

// TestViberComesBack: a client that comes back says its session's number, which the server's first frame repeats.
func TestViberComesBack(t *testing.T) {
	client := append([]byte("\x28\x00\xad\xd4\xdc\x17"), sealed(34, 1)...)
	for _, c := range []struct {
		name, server string
		want         bool
	}{
		{"repeated", "\x16\x00\x76\x05\x03\x80\xad\xd4\xdc\x17 and twelve.", true},
		{"another number", "\x16\x00\x76\x05\x03\x80\xad\xd4\xdc\x18 and twelve.", false},
		{"a frame that is not whole", "\x17\x00\x76\x05\x03\x80\xad\xd4\xdc\x17 and twelve.", false},
	} {
		var s decode.Stream
		in := &decode.Segments{Client: client, ClientPort: 50000, ServerPort: 4244}
		if facts, done := s.Look(in); len(facts) > 0 || done {
			t.Fatalf("%v before the server spoke", facts)
		}
		in.Server = []byte(c.server)
		facts, _ := s.Look(in)
		if got := len(facts) == 1 && facts[0].Decoder == "viber"; got != c.want {
			t.Errorf("%s: %v", c.name, facts)
		}
	}
}
