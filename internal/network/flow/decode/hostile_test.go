package decode_test

import (
	"crypto/aes"
	"crypto/cipher"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestQUICFramesAround: a hello is read behind frames that may stand there, and nothing is read behind those that lie.
func TestQUICFramesAround(t *testing.T) {
	hello := unhex(t, helloFrame)
	for _, c := range []struct {
		name   string
		before string // hex
		found  bool
	}{
		{"nothing", "", true}, {"padding and pings", "00 01 00 01", true}, {"an acknowledgement", "02 05 00 01 00 0102", true},
		{"one with congestion marks", "03 05 00 00 00 010203", true}, {"one with long numbers", "02 c000000000000005 80000001 00 4001", true},
		{"more ranges than bytes", "02 05 00 ffffffffffffffff 00", false}, {"another frame", "1c 00 00 00", false},
		{"crypto beyond the packet", "06 00 7fff", false}, {"crypto beyond all", "06 ffffffffffffffff 01 00", true},
	} {
		packet, err := flowtest.Initial(1, unhex(t, "8394c8f03e515708"), 2, slices.Concat(unhex(t, c.before), hello))
		if err != nil {
			t.Fatal(err)
		}
		var s decode.Datagrams
		facts, _ := s.Look(&decode.Datagram{Payload: packet, FromClient: true, ServerPort: 443})
		if found := len(facts) == 1 && facts[0].Get("name") == "example.com"; found != c.found || s.Seen() != 1 || s.Held() > 1<<17 {
			t.Errorf("%s: %v, %d bytes held", c.name, facts, s.Held())
		}
	}
}

// TestQUICHeadersThatLie: every length of the header, cut and too large, is refused without a hello; so is each packet that ends early.
func TestQUICHeadersThatLie(t *testing.T) {
	packet, err := flowtest.Initial(1, unhex(t, "8394c8f03e515708"), 2, unhex(t, helloFrame))
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, b []byte) {
		t.Helper()
		var s decode.Datagrams
		if facts, _ := s.Look(&decode.Datagram{Payload: b, FromClient: true, ServerPort: 443}); len(facts) > 0 && facts[0].Get("name") != "" {
			t.Errorf("%s: %v", name, facts)
		}
	}
	for n := range 64 {
		try("cut", packet[:n])
	}
	try("cut", packet[:len(packet)-1])
	for at, name := range map[int]string{5: "destination", 14: "source", 15: "token", 16: "length"} {
		lies := slices.Clone(packet)
		lies[at] = 0xff
		try(name, lies)
	}
}

// obfuscate hides a transport's tag as a Telegram client does: the first 64 bytes hold the key that opens their end.
func obfuscate(t *testing.T, tag byte) string {
	t.Helper()
	b := make([]byte, 64)
	for i := range b {
		b[i] = byte(i*37 + 11)
	}
	block, err := aes.NewCipher(b[8:40])
	if err != nil {
		t.Fatal(err)
	}
	var stream [64]byte
	cipher.NewCTR(block, b[40:56]).XORKeyStream(stream[:], stream[:])
	for i := 56; i < 60; i++ {
		b[i] = tag ^ stream[i]
	}
	return string(b)
}

// TestEveryMTProtoTransport: in clear and obfuscated; a tag that no transport has is nothing.
func TestEveryMTProtoTransport(t *testing.T) {
	const key = "\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, c := range []struct{ bytes, transport, obfuscated string }{
		{obfuscate(t, 0xef), "abridged", "yes"}, {obfuscate(t, 0xee), "intermediate", "yes"}, {obfuscate(t, 0xdd), "padded", "yes"}, {obfuscate(t, 0xcc), "", ""},
		{"\xef\x0a" + key, "abridged", "no"}, {"\xee\xee\xee\xee\x28\x00\x00\x00" + key, "intermediate", "no"}, {"\xdd\xdd\xdd\xdd\x28\x00\x00\x00" + key, "padded", "no"},
		{"\xef\x0a\x00", "", ""}, {"\xee\xee\xee\xee\x28", "", ""}, {"\xdd\xdd\xdd\xdd\x28", "", ""},
		{"\xee\xee\xee\xee\xff\xff\x00\x00" + key, "", ""}, {"\xdd\xdd\xdd\xdd\x28\x00\x00\x00abcdefgh", "", ""},
	} {
		facts := stream(c.bytes, "")
		got, hidden := "", ""
		for _, f := range facts {
			if f.Decoder == "mtproto" {
				got, hidden = f.Get("transport"), f.Get("obfuscated")
			}
		}
		if got != c.transport || hidden != c.obfuscated {
			t.Errorf("%.8x…: %q obfuscated %q, want %q %q", c.bytes, got, hidden, c.transport, c.obfuscated)
		}
	}
}
