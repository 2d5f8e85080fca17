package flow_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestMixedLinkTypes reads a pcapng capture of two interfaces whose link types differ.
func TestMixedLinkTypes(t *testing.T) {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := w.AddInterface(pcapgo.NgInterface{Name: "tun0", LinkType: layers.LinkTypeRaw, SnapLength: 65535})
	if err != nil {
		t.Fatal(err)
	}
	frame := flowtest.UDPFrame(client, server, []byte("one"))
	write := func(data []byte, link int) {
		info := gopacket.CaptureInfo{Timestamp: start, CaptureLength: len(data), Length: len(data), InterfaceIndex: link}
		if err := w.WritePacket(info, data); err != nil {
			t.Fatal(err)
		}
	}
	write(frame, 0)
	write(frame[14:], raw)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, counts, err := read(t, b.Bytes(), flow.Limits{})
	if err != nil || len(got.closed) != 1 || counts.Packets != 2 {
		t.Errorf("%d flows of %d packets, %v", len(got.closed), counts.Packets, err)
	}
}

// TestForms reads the same packet from the forms that captures have.
func TestForms(t *testing.T) {
	frame := flowtest.UDPFrame(client, server, []byte("one"))
	plain := pcap(t, 1, frame)
	swapped := bytes.Clone(plain)
	for _, field := range [][2]int{{0, 4}, {4, 2}, {6, 2}, {16, 4}, {20, 4}, {24, 4}, {28, 4}, {32, 4}, {36, 4}} {
		part := swapped[field[0] : field[0]+field[1]]
		for i, j := 0, len(part)-1; i < j; i, j = i+1, j-1 {
			part[i], part[j] = part[j], part[i]
		}
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(plain)
	z.Close()
	short := bytes.Clone(plain) // a header that says less than its packets have
	binary.LittleEndian.PutUint32(short[16:], 4)
	for name, b := range map[string][]byte{"little-endian": plain, "big-endian": swapped, "gzip": zipped.Bytes(), "a small snap length": short} {
		got, _, err := read(t, b, flow.Limits{})
		if err != nil || len(got.closed) != 1 || !got.closed[0].First().Equal(start) {
			t.Errorf("%s: %d flows, %v", name, len(got.closed), err)
		}
	}
}

func TestHostileHeaders(t *testing.T) {
	frame := flowtest.UDPFrame(client, server, []byte("one"))
	plain := pcap(t, 1, frame, frame)
	huge := bytes.Clone(plain)
	binary.LittleEndian.PutUint32(huge[32:], 1<<31)
	binary.LittleEndian.PutUint32(huge[36:], 1<<31)
	more := bytes.Clone(plain)
	binary.LittleEndian.PutUint32(more[36:], 1)
	for name, b := range map[string][]byte{"a packet of 2 GiB": huge, "more captured than there was": more} {
		if _, _, err := read(t, b, flow.Limits{}); err == nil || errors.Is(err, flow.ErrNotCapture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestImpossibleTimes: a time that cannot be becomes the beginning of 1970.
func TestImpossibleTimes(t *testing.T) {
	frame := flowtest.UDPFrame(client, server, []byte("four"))
	frame = append(frame, make([]byte, -len(frame)&3)...)
	words := func(n ...uint32) (b []byte) {
		for _, w := range n {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	size := uint32(len(frame))
	b := words(0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28) // section
	b = append(b, words(1, 20, 1, 65535, 20)...)                          // interface of microseconds
	b = append(b, words(6, 32+size, 0, 0x7fffffff, 0, size, size)...)     // a packet of the year 294,000
	b = append(append(b, frame...), words(32+size)...)
	got, _, err := read(t, b, flow.Limits{})
	if err != nil || len(got.closed) != 1 || got.closed[0].First().Unix() != 0 {
		t.Errorf("%v, %v", got.closed, err)
	}
}

func TestCancelledReading(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	c := &collector{}
	_, err := flow.ReadCapture(ctx, newFlood(t, 10), flow.NewTracker(c, flow.Limits{}))
	if !errors.Is(err, context.Canceled) || len(c.closed) != 0 {
		t.Errorf("%v, %d flows", err, len(c.closed))
	}
}

// TestNoFlow: frames that hold no packet of a flow are passed over.
func TestNoFlow(t *testing.T) {
	mac := make([]byte, 12)
	arp := append(append(bytes.Clone(mac), 8, 6), make([]byte, 28)...)
	gre := flowtest.Ethernet(client.Addr(), server.Addr(), 47, make([]byte, 40))
	encrypted := append([]byte{0x08, 0x41}, make([]byte, 60)...)
	for name, c := range map[string]struct {
		link  uint16
		frame []byte
	}{
		"arp": {1, arp}, "a tunnel": {1, gre}, "nothing": {1, nil}, "half an address": {1, mac[:9]}, "encrypted wifi": {105, encrypted},
		"raw of version 9": {101, []byte{0x90, 0, 0, 0}}, "half an IPv4 header": {101, []byte{0x45, 0, 0, 20}},
		"a header of four bytes": {101, append([]byte{0x41, 0, 0, 20}, make([]byte, 16)...)}, "endless tags": {1, append(mac, bytes.Repeat([]byte{0x81, 0, 0, 1}, 30)...)},
		"endless labels": {1, append(append(bytes.Clone(mac), 0x88, 0x47), make([]byte, 80)...)},
		"endless IPv6 headers": {101, flowtest.IPv6(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), 60,
			bytes.Repeat([]byte{60, 0, 0, 0, 0, 0, 0, 0}, 20))},
	} {
		got, counts, err := read(t, pcap(t, c.link, c.frame), flow.Limits{})
		if err != nil || len(got.closed) != 0 || counts.Packets != 0 {
			t.Errorf("%s: %d flows, %v", name, len(got.closed), err)
		}
	}
}

// TestProtocols: SCTP and ICMP have flows as well, and ICMPv6 counts as ICMP.
func TestProtocols(t *testing.T) {
	v6a, v6b := netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("2001:db8::1")
	sctp := append([]byte{0xc3, 0x50, 0x0b, 0x59}, make([]byte, 12)...)
	got, _, err := read(t, pcap(t, 1,
		flowtest.Ethernet(client.Addr(), server.Addr(), 132, sctp),
		flowtest.Ethernet(client.Addr(), server.Addr(), 1, []byte{8, 0, 0, 0, 0, 1, 0, 1}),
		flowtest.Ethernet(server.Addr(), client.Addr(), 1, []byte{0, 0, 0, 0, 0, 1, 0, 1}),
		flowtest.Ethernet(v6a, v6b, 58, []byte{128, 0, 0, 0, 0, 1, 0, 1}),
	), flow.Limits{})
	if err != nil || len(got.closed) != 3 {
		t.Fatalf("%d flows, %v", len(got.closed), err)
	}
	want := []string{"sctp 10.0.0.7:50000 192.0.2.1:2905 1", "icmp 10.0.0.7:0 192.0.2.1:0 2", "icmp [2001:db8::7]:0 [2001:db8::1]:0 1"}
	for _, f := range got.closed {
		text := f.ProtoName() + " " + f.Client.String() + " " + f.Server.String() + " " + string(rune('0'+f.Packets))
		found := false
		for _, w := range want {
			found = found || w == text
		}
		if !found {
			t.Errorf("flow %s", text)
		}
	}
}

// TestEvictionIsTheLongestSilent: when there is no room the flow silent for longest goes, and is reported as evicted.
func TestEvictionIsTheLongestSilent(t *testing.T) {
	one, two, three := netip.AddrPortFrom(client.Addr(), 1001), netip.AddrPortFrom(client.Addr(), 1002), netip.AddrPortFrom(client.Addr(), 1003)
	var frames [][]byte
	for _, from := range []netip.AddrPort{one, two, one, three} {
		frames = append(frames, flowtest.UDPFrame(from, server, []byte("x")))
	}
	got, counts, err := read(t, pcap(t, 1, frames...), flow.Limits{Flows: 2})
	if err != nil || len(got.closed) != 3 || got.evicted != 1 || counts.Evicted != 1 {
		t.Fatalf("%d closed, %d evicted, %v", len(got.closed), got.evicted, err)
	}
	if got.closed[0].Client.AddrPort() != two {
		t.Errorf("%s was evicted, want %s", got.closed[0].Client, two)
	}
}

// TestCounts: both directions are one flow, and bytes are those on the wire.
func TestCounts(t *testing.T) {
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, start)
	w.TCP(client, server, flowtest.Chunk{FromClient: true, Data: make([]byte, 3000)}, flowtest.Chunk{Data: []byte("answer")})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, counts, err := read(t, b.Bytes(), flow.Limits{})
	if err != nil || len(got.closed) != 1 {
		t.Fatalf("%d flows, %v", len(got.closed), err)
	}
	f := got.closed[0]
	there, back := f.Directions()
	if there != 6 || back != 3 || f.Packets != 9 || f.Bytes != 9*54+3006 || counts.Bytes != f.Bytes || f.Middle || !f.Settled {
		t.Errorf("%d there, %d back, %d bytes, middle %v, settled %v", there, back, f.Bytes, f.Middle, f.Settled)
	}
	if f.Last.Time().Sub(f.First()) != 8*time.Millisecond {
		t.Errorf("it lasted %s", f.Last.Time().Sub(f.First()))
	}
}
