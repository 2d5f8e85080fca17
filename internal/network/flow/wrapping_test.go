package flow_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// join puts bytes and texts behind each other.
func join(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

var (
	v6client = netip.MustParseAddr("2001:db8::7")
	v6server = netip.MustParseAddr("2001:db8::53")
	resolver = netip.MustParseAddrPort("192.0.2.53:53")
)

// question is a UDP datagram that asks for a name.
func question() []byte {
	return flowtest.UDPFrame(client, resolver, flowtest.Question("wrapped.example.org"))[34:]
}

// wrapped are frames that hold the question behind what networks put before packets.
func wrapped() []struct {
	name  string
	link  uint16
	frame []byte
} {
	v4 := flowtest.IPv4(client.Addr(), resolver.Addr(), 17, question())
	v6 := flowtest.IPv6(v6client, v6server, 17, question())
	mac := make([]byte, 12)
	snap := "\xaa\xaa\x03\x00\x00\x00\x08\x00"
	size := string([]byte{byte((len(v4) + 2) >> 8), byte(len(v4) + 2)})
	return []struct {
		name  string
		link  uint16
		frame []byte
	}{
		{"three tags", 1, join(mac, "\x91\x00\x00\x01\x88\xa8\x00\x02\x81\x00\x00\x03\x08\x00", v4)},
		{"a tag, then IPv6", 1, join(mac, "\x81\x00\x00\x01\x86\xdd", v6)},
		{"a tag, then labels", 1, join(mac, "\x81\x00\x00\x01\x88\x47\x00\x01\x01\xff", v4)},
		{"three labels", 1, join(mac, "\x88\x48\x00\x01\x00\xff\x00\x02\x00\xff\x00\x03\x01\xff", v4)},
		{"labels, then IPv6", 1, join(mac, "\x88\x47\x00\x01\x01\xff", v6)},
		{"a pseudowire with a tagged frame", 1, join(mac, "\x88\x47\x00\x01\x01\xff\x00\x00\x00\x00", mac, "\x81\x00\x00\x01\x08\x00", v4)},
		{"a tag, then PPPoE", 1, join(mac, "\x81\x00\x00\x01\x88\x64\x11\x00\x00\x01", size, "\x00\x21", v4)},
		{"PPPoE with IPv6", 1, join(mac, "\x88\x64\x11\x00\x00\x01\x00\x99\x00\x57", v6)},
		{"PPPoE alone", 51, join("\x11\x00\x00\x01", size, "\x00\x21", v4)},
		{"PPP with labels", 9, join("\xff\x03\x02\x81\x00\x01\x01\xff", v4)},
		{"PPP as HDLC", 50, join("\xff\x03\x00\x57", v6)},
		{"HDLC that is marked as PPP", 9, join("\x0f\x00\x08\x00", v4)},
		{"Cisco's HDLC with IPv6", 104, join("\x8f\x00\x86\xdd", v6)},
		{"Linux cooked with a tag", 113, join(make([]byte, 14), "\x81\x00\x00\x05\x08\x00", v4)},
		{"Linux cooked 2 with IPv6", 276, join("\x86\xdd", make([]byte, 18), v6)},
		{"null with IPv6 of another system", 0, join("\x1e\x00\x00\x00", v6)},
		{"802.11 to the access point", 105, join("\x08\x01", make([]byte, 22), snap, v4)},
		{"802.11 from the access point", 105, join("\x08\x02", make([]byte, 22), snap, v4)},
		{"802.11 between access points", 105, join("\x08\x03", make([]byte, 28), snap, v4)},
		{"802.11 of quality", 105, join("\x88\x01", make([]byte, 24), snap, v4)},
		{"802.11 of quality between access points", 105, join("\x88\x03", make([]byte, 30), snap, v4)},
		{"802.11 of quality and high throughput", 105, join("\x88\x81", make([]byte, 28), snap, v4)},
		{"radiotap with many fields", 127, join("\x00\x00\x20\x00", make([]byte, 28), "\x08\x01", make([]byte, 22), snap, v4)},
		{"an IPv4 header with options", 101, options(v4)},
		{"padding behind the packet", 1, join(mac, "\x08\x00", v4, make([]byte, 30))},
		{"a total length of zero", 101, zeroLength(v4)},
	}
}

// options returns the IPv4 packet with eight bytes of options.
func options(v4 []byte) []byte {
	out := join(v4[:20], "\x01\x01\x01\x01\x01\x01\x01\x00", v4[20:])
	out[0] = 0x47
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return out
}

// zeroLength returns the IPv4 packet as segmentation offload leaves it.
func zeroLength(v4 []byte) []byte {
	out := bytes.Clone(v4)
	out[2], out[3] = 0, 0
	return out
}

// TestWrappings: the question is read through every wrapping.
func TestWrappings(t *testing.T) {
	for _, c := range wrapped() {
		got, counts, err := read(t, pcap(t, c.link, c.frame), flow.Limits{})
		if err != nil || len(got.closed) != 1 || counts.Packets != 1 || len(got.facts) != 1 || got.facts[0].Get("name") != "wrapped.example.org" {
			t.Errorf("%s: %d flows, %v, %v", c.name, len(got.closed), got.facts, err)
			continue
		}
		if f := got.closed[0]; f.Client.Port() != 50000 || f.Server.Port() != 53 {
			t.Errorf("%s: %s → %s", c.name, f.Client, f.Server)
		}
	}
}

// TestCutWrappings: a frame that ends anywhere is no flow of anybody else's, and no question that was not asked.
func TestCutWrappings(t *testing.T) {
	for _, c := range wrapped() {
		for n := range c.frame {
			got, _, err := read(t, pcap(t, c.link, c.frame[:n]), flow.Limits{})
			if err != nil || len(got.closed) > 1 {
				t.Fatalf("%s, %d bytes: %d flows, %v", c.name, n, len(got.closed), err)
			}
			for _, f := range got.closed {
				if f.Server.Port() != 53 || f.ProtoName() != "udp" {
					t.Errorf("%s, %d of %d bytes: %s %s → %s", c.name, n, len(c.frame), f.ProtoName(), f.Client, f.Server)
				}
			}
			for _, f := range got.facts {
				if name := f.Get("name"); name != "wrapped.example.org" && f.Decoder != "skype-candidate" {
					t.Errorf("%s, %d of %d bytes: found %v", c.name, n, len(c.frame), f)
				}
			}
		}
	}
}

// TestWrongLinkTypes: a frame that is read as one of another link type is no panic.
func TestWrongLinkTypes(t *testing.T) {
	for _, c := range wrapped() {
		for _, link := range []uint16{0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 228, 229, 276} {
			if _, _, err := read(t, pcap(t, link, c.frame), flow.Limits{}); err != nil {
				t.Errorf("%s as link type %d: %v", c.name, link, err)
			}
		}
	}
}

// TestExtensionHeaders: the question is read behind the headers that IPv6 may put before it (RFC 8200, section 4), and not behind others.
func TestExtensionHeaders(t *testing.T) {
	header := func(next byte, units int) []byte {
		return append([]byte{next, byte(units)}, make([]byte, 6+8*units)...)
	}
	for _, c := range []struct {
		name    string
		first   byte
		payload []byte
		found   bool
	}{
		{"none", 17, question(), true},
		{"hop-by-hop", 0, join(header(17, 0), question()), true},
		{"a long one", 0, join(header(17, 3), question()), true},
		{"routing", 43, join(header(17, 2), question()), true},
		{"destination", 60, join(header(17, 0), question()), true},
		{"mobility", 135, join(header(17, 0), question()), true},
		{"authentication", 51, join("\x11\x04", make([]byte, 22), question()), true},
		{"hop-by-hop, routing, destination", 0, join(header(43, 0), header(60, 0), header(17, 0), question()), true},
		{"an atomic fragment", 44, join("\x11\x00\x00\x00\x00\x00\x00\x07", question()), true},
		{"seven headers", 60, join(bytes.Repeat(header(60, 0), 6), header(17, 0), question()), true},
		{"nine headers", 60, join(bytes.Repeat(header(60, 0), 8), header(17, 0), question()), false},
		{"no next header", 59, question(), false},
		{"encryption", 50, question(), false},
		{"a header longer than the packet", 0, join([]byte{17, 255}, make([]byte, 6), question()), false},
		{"half a header", 0, []byte{17, 0, 0}, false},
		{"half a fragment header", 44, []byte{17, 0, 0}, false},
		{"half an authentication header", 51, []byte{17, 4, 0}, false},
	} {
		got, _, err := read(t, pcap(t, 229, flowtest.IPv6(v6client, v6server, c.first, c.payload)), flow.Limits{})
		if found := len(got.facts) == 1 && got.facts[0].Get("name") == "wrapped.example.org"; err != nil || found != c.found {
			t.Errorf("%s: found %v, %v", c.name, got.facts, err)
		}
	}
}

// fragmented6 cuts a UDP datagram into IPv6 fragments of the size, which is a multiple of eight.
func fragmented6(payload []byte, size int) (out [][]byte) {
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		flags := uint16(at)
		if end < len(payload) {
			flags |= 1
		}
		out = append(out, flowtest.IPv6(v6client, v6server, 44, join([]byte{17, 0, byte(flags >> 8), byte(flags), 0, 0, 0, 9}, payload[at:end])))
	}
	return out
}

func TestIPv6Fragments(t *testing.T) {
	pieces := fragmented6(question(), 16)
	backwards := [][]byte{pieces[0]}
	for i := len(pieces) - 1; i > 0; i-- {
		backwards = append(backwards, pieces[i])
	}
	other := bytes.Clone(pieces[1])
	other[47] = 8 // of another packet
	for _, c := range []struct {
		name   string
		frames [][]byte
		found  bool
	}{
		{"in order", pieces, true}, {"the last one first", backwards, true},
		{"doubled", append(append([][]byte{}, pieces[:2]...), pieces[1:]...), true},
		{"one of another packet", append([][]byte{pieces[0], other}, pieces[2:]...), false},
		{"without the first", pieces[1:], false},
	} {
		got, _, err := read(t, pcap(t, 229, c.frames...), flow.Limits{})
		found := false
		for _, f := range got.facts {
			found = found || f.Get("name") == "wrapped.example.org"
		}
		if err != nil || found != c.found {
			t.Errorf("%s: found %v, %v", c.name, got.facts, err)
		}
	}
}

// TestExtensionsInFragments: headers that were cut up with the packet are passed over when it is whole, whichever fragment comes last.
func TestExtensionsInFragments(t *testing.T) {
	payload := join("\x11\x00\x00\x00\x00\x00\x00\x00", question())
	pieces := fragmented6(payload, 24)
	for _, p := range pieces {
		p[40] = 60 // destination options come first in the whole
	}
	for name, frames := range map[string][][]byte{"in order": pieces, "swapped": append(append([][]byte{pieces[0]}, pieces[2:]...), pieces[1])} {
		got, _, err := read(t, pcap(t, 229, frames...), flow.Limits{})
		if err != nil || len(got.closed) != 1 || len(got.facts) != 1 || got.facts[0].Get("name") != "wrapped.example.org" {
			t.Errorf("%s: %d flows, %v, %v", name, len(got.closed), got.facts, err)
		}
	}
}

// TestFragmentsBehindTheEnd: sizes that add up do not make a whole of fragments with a hole between them.
func TestFragmentsBehindTheEnd(t *testing.T) {
	answer := flowtest.UDPFrame(resolver, client, flowtest.Answer("hole.example.org", netip.MustParseAddr("192.0.2.9")))
	pieces := fragmented(answer, 8)
	for hole := 2; hole < len(pieces)-1; hole++ {
		behind := bytes.Clone(pieces[hole])
		binary.BigEndian.PutUint16(behind[20:], 0x2000|uint16(len(pieces)+4)) // as long as the hole, but far behind the end
		for _, first := range []bool{true, false} {
			frames := append([][]byte{}, pieces[:hole]...)
			if first {
				frames = append(append(frames, behind), pieces[hole+1:]...)
			} else {
				frames = append(append(frames, pieces[hole+1:]...), behind)
			}
			got, _, err := read(t, pcap(t, 1, frames...), flow.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range got.facts {
				if f.Decoder == "dns" && f.Get("answer") != "" {
					t.Errorf("hole at piece %d: found %v", hole, f)
				}
			}
		}
	}
}

// TestFragmentsOfLongAgo: fragments of one number that are far apart in time are of two packets (RFC 791, section 3.2).
func TestFragmentsOfLongAgo(t *testing.T) {
	pieces := fragmented(flowtest.UDPFrame(client, resolver, flowtest.Question("slow.example.org")), 16)
	for _, c := range []struct {
		seconds uint32
		found   bool
	}{{20, true}, {31, false}} {
		capture := pcap(t, 1, pieces...)
		at, last := 24, 0
		for at < len(capture) {
			last = at
			at += 16 + int(binary.LittleEndian.Uint32(capture[at+8:]))
		}
		binary.LittleEndian.PutUint32(capture[last:], uint32(start.Unix())+c.seconds)
		got, _, err := read(t, capture, flow.Limits{})
		found := false
		for _, f := range got.facts {
			found = found || f.Get("name") == "slow.example.org"
		}
		if err != nil || found != c.found {
			t.Errorf("after %d seconds: found %v, %v", c.seconds, got.facts, err)
		}
	}
}
