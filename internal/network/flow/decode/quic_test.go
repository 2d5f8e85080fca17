package decode_test

import (
	"bytes"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// helloFrame is the CRYPTO frame of RFC 9001, appendix A.2, which RFC 9369, appendix A.2, uses too.
const helloFrame = `060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868
	04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578
	616d706c652e636f6dff01000100000a00080006001d00170018001000070005
	04616c706e000500050100000000003300260024001d00209370b2c9caa47fba
	baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400
	0d0010000e0403050306030203080408050806002d00020101001c0002400100
	3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000
	75300901100f088394c8f03e51570806048000ffff`

// TestQUICVectors opens the client's Initial packets of RFC 9001 and RFC 9369. They are made anew from the frame in the RFCs; that their
// beginning and their tag are the RFCs' says that they are the RFCs' packets.
func TestQUICVectors(t *testing.T) {
	for _, c := range []struct {
		version    int
		begin, tag string
		text       string
	}{
		{1, "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11", "e221af44860018ab0856972e194cd934", "1"},
		{2, "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485", "a18b2faa745b6fe189cf772a9f84cbfc", "2"},
	} {
		packet, err := flowtest.Initial(c.version, unhex(t, "8394c8f03e515708"), 2, unhex(t, helloFrame))
		if err != nil {
			t.Fatal(err)
		}
		if len(packet) != 1200 || !bytes.HasPrefix(packet, unhex(t, c.begin)) || !bytes.HasSuffix(packet, unhex(t, c.tag)) {
			t.Fatalf("version %d: the packet is not the RFC's: %x … %x", c.version, packet[:32], packet[len(packet)-16:])
		}
		var s decode.Datagrams
		facts, _ := s.Look(&decode.Datagram{Payload: packet, FromClient: true, ServerPort: 443})
		if len(facts) != 1 || facts[0].Get("name") != "example.com" || facts[0].Get("alpn") != "alpn" || facts[0].Get("version") != c.text {
			t.Errorf("version %d: found %v", c.version, facts)
		}
	}
}

// TestQUICFramesInAnyOrder spreads a real hello over packets, the last part first.
func TestQUICFramesInAnyOrder(t *testing.T) {
	packets, err := flowtest.QUICInitials("media.example.org", 400)
	if err != nil {
		t.Fatal(err)
	}
	if len(packets) < 2 {
		t.Fatalf("only %d packets", len(packets))
	}
	var s decode.Datagrams
	for i, p := range packets {
		facts, _ := s.Look(&decode.Datagram{Payload: p, FromClient: true, ServerPort: 443})
		switch {
		case i < len(packets)-1 && len(facts) > 0:
			t.Fatalf("packet %d of %d: found %v too early", i+1, len(packets), facts)
		case i == len(packets)-1 && (len(facts) != 1 || facts[0].Get("name") != "media.example.org" || facts[0].Get("alpn") != "h3"):
			t.Fatalf("found %v", facts)
		}
	}
}

func FuzzQUIC(f *testing.F) {
	packet, err := flowtest.Initial(1, []byte{1, 2, 3, 4, 5, 6, 7, 8}, 0, unhex(f, helloFrame))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet, unhex(f, helloFrame))
	f.Add([]byte("\xc0\x00\x00\x00\x01\x08aaaaaaaa\x00\x00\x44\x9e"), []byte("\x02\x01\x01\x01\x01\x06\x00\x04\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, raw, frames []byte) {
		var s decode.Datagrams
		s.Look(&decode.Datagram{Payload: raw, FromClient: true, ServerPort: 443})
		if len(frames) > 1100 {
			return
		}
		packet, err := flowtest.Initial(2, []byte{8, 7, 6, 5, 4, 3, 2, 1}, 1, frames)
		if err != nil {
			t.Fatal(err)
		}
		s.Look(&decode.Datagram{Payload: packet, FromClient: true, ServerPort: 443})
	})
}
