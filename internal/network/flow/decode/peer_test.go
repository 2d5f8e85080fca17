package decode_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// exchange gives datagrams to the decoders of one flow between two addresses, and returns the facts but Skype's candidates.
func exchange(client, server string, said ...decode.Datagram) (facts []decode.Fact) {
	var s decode.Datagrams
	ends := [2][16]byte{netip.MustParseAddr(client).As16(), netip.MustParseAddr(server).As16()}
	for _, d := range said {
		d.Source, d.Destination = ends[0], ends[1]
		if !d.FromClient {
			d.Source, d.Destination = ends[1], ends[0]
		}
		d.ClientPort, d.ServerPort = 50000, 33033
		found, _ := s.Look(&d)
		facts = append(facts, slices.DeleteFunc(found, func(f decode.Fact) bool { return f.Decoder == "skype-candidate" })...)
	}
	return facts
}

func fromClient(b []byte) decode.Datagram { return decode.Datagram{Payload: b, FromClient: true} }
func fromServer(b []byte) decode.Datagram { return decode.Datagram{Payload: b} }

// TestSkypeRefusal: the reply of 11 bytes counts when it answers the object asked, and tells an address that is one of the flow's ends;
// an address that is not is only told.
func TestSkypeRefusal(t *testing.T) {
	probe := flowtest.SkypeProbe(0x1234)
	reply := func(object uint16, function byte, told ...byte) []byte {
		return append(append(binary.BigEndian.AppendUint16(nil, object), function), told...)
	}
	for _, c := range []struct {
		name  string
		reply []byte
		want  string
	}{
		{"its own address", reply(0x1234, 7, 192, 0, 2, 7, 9, 9, 9, 9), "own"},
		{"the sender's own address", reply(0x1234, 0x47, 9, 9, 9, 9, 203, 0, 113, 9), "own"},
		{"an address behind a translation", reply(0x1234, 7, 8, 8, 4, 4, 9, 9, 9, 9), "told"},
		{"a private one", reply(0x1234, 7, 10, 1, 2, 3, 9, 9, 9, 9), ""},
		{"another object", reply(0x1235, 7, 192, 0, 2, 7, 9, 9, 9, 9), ""},
		{"another function", reply(0x1234, 2, 192, 0, 2, 7, 9, 9, 9, 9), ""},
		{"a byte more", reply(0x1234, 7, 192, 0, 2, 7, 9, 9, 9, 9, 0), ""},
	} {
		got := ""
		for _, f := range exchange("192.0.2.7", "203.0.113.9", fromClient(probe), fromServer(c.reply)) {
			got = f.Get("kind")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if facts := exchange("192.0.2.7", "203.0.113.9", fromServer(reply(0, 7, 192, 0, 2, 7, 9, 9, 9, 9))); len(facts) > 0 {
		t.Errorf("a reply to nothing: %v", facts)
	}
}

// TestStunAddresses: relayed and peer addresses are read under the cookie and the transaction, of both families; what is malformed is not.
func TestStunAddresses(t *testing.T) {
	message := func(kind uint16, value []byte) []byte {
		return flowtest.STUN(0x0103, flowtest.Attribute{Kind: kind, Value: value})
	}
	xor := func(m []byte, end netip.AddrPort) []byte { // the value follows its header at 24
		value := m[24:]
		binary.BigEndian.PutUint16(value[2:], end.Port()^0x2112)
		for i, b := range end.Addr().AsSlice() {
			value[4+i] = b ^ m[4+i]
		}
		return m
	}
	four, six := netip.MustParseAddrPort("198.51.100.7:49152"), netip.MustParseAddrPort("[2001:db8::7]:49152")
	for _, c := range []struct {
		payload   []byte
		key, want string
	}{
		{xor(message(0x0016, []byte{0, 1, 0, 0, 0, 0, 0, 0}), four), "relayed", four.String()},
		{xor(message(0x0012, []byte{0, 1, 0, 0, 0, 0, 0, 0}), four), "peer", four.String()},
		{xor(message(0x0016, append([]byte{0, 2}, make([]byte, 18)...)), six), "relayed", six.String()},
		{message(0x0016, []byte{0, 2, 0, 0, 0, 0, 0, 0}), "relayed", ""},
		{message(0x0016, []byte{0, 1, 0}), "relayed", ""},
		{message(0x0006, []byte("abcd:efgh")), "ice", "yes"},
		{message(0x0006, []byte("user")), "ice", ""},
	} {
		facts := exchange("192.0.2.7", "203.0.113.9", fromClient(c.payload))
		if len(facts) != 1 || facts[0].Get(c.key) != c.want {
			t.Errorf("%v, want %s %q", facts, c.key, c.want)
		}
	}
}

// TestSessionDescription: where a call wants its media (RFC 8866).
func TestSessionDescription(t *testing.T) {
	for body, want := range map[string]string{
		"v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 40000 RTP/AVP 0\r\n": "198.51.100.7:40000",
		"v=0\r\nc=IN IP6 2001:db8::7\r\nm=video 40002 RTP/AVP 96\r\n": "[2001:db8::7]:40002",
		"v=0\r\nm=audio 40000 RTP/AVP 0\r\n":                          "",
		"v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 0 RTP/AVP 0\r\n":     "",
		"v=0\r\nc=IN IP4 nowhere\r\nm=audio 40000 RTP/AVP 0\r\n":      "",
	} {
		facts := exchange("192.0.2.7", "203.0.113.9", fromClient([]byte("INVITE sip:a@b SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n"+body)))
		if len(facts) != 1 || facts[0].Decoder != "sip" || facts[0].Get("media") != want {
			t.Errorf("%q: %v", body, facts)
		}
	}
}
