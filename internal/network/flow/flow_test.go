package flow_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

var (
	client = netip.MustParseAddrPort("10.0.0.7:50000")
	server = netip.MustParseAddrPort("192.0.2.1:443")
	start  = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
)

// collector is a flow.Handler that keeps what it is told.
type collector struct {
	closed  []*flow.Flow
	facts   []decode.Fact
	evicted int
	settled int
}

func (c *collector) Opened(*flow.Flow)                         {}
func (c *collector) Learned(_ *flow.Flow, facts []decode.Fact) { c.facts = append(c.facts, facts...) }
func (c *collector) Settled(*flow.Flow)                        { c.settled++ }
func (c *collector) Closed(f *flow.Flow, evicted bool) {
	kept := *f // it is used again
	c.closed = append(c.closed, &kept)
	if evicted {
		c.evicted++
	}
}

// read gives a capture to a new tracker.
func read(t testing.TB, capture []byte, limits flow.Limits) (*collector, flow.Counts, error) {
	t.Helper()
	c := &collector{}
	tracker := flow.NewTracker(c, limits)
	_, err := flow.ReadCapture(t.Context(), bytes.NewReader(capture), tracker)
	return c, tracker.Counts(), err
}

// pcap makes an old capture of frames of a link type.
func pcap(t testing.TB, link uint16, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkType(link)); err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		at := start.Add(time.Duration(i) * time.Millisecond)
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(f), Length: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestNotACapture(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("abc"), []byte("this is a text and no capture at all")} {
		if _, _, err := read(t, b, flow.Limits{}); !errors.Is(err, flow.ErrNotCapture) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func TestCutCapture(t *testing.T) {
	question := flowtest.UDPFrame(client, netip.MustParseAddrPort("192.0.2.53:53"), flowtest.Question("a.example"))
	b := pcap(t, 1, question, question)
	c, counts, err := read(t, b[:len(b)-5], flow.Limits{})
	if !errors.Is(err, flow.ErrCut) || counts.Packets != 1 || len(c.closed) != 1 {
		t.Errorf("%v: %d packets, %d flows", err, counts.Packets, len(c.closed))
	}
}

// TestDamagedCapture has, after a packet, a length that lasts beyond the end of the capture, and more than any packet holds.
func TestDamagedCapture(t *testing.T) {
	question := flowtest.UDPFrame(client, netip.MustParseAddrPort("192.0.2.53:53"), flowtest.Question("a.example"))
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.WritePacket(gopacket.CaptureInfo{Timestamp: start, CaptureLength: len(question), Length: len(question)}, question), w.Flush()); err != nil {
		t.Fatal(err)
	}
	b.Write([]byte{0xff, 0xff, 0, 0, 0, 0, 0, 0x40})
	b.Write(make([]byte, 300_000))
	c, counts, err := read(t, b.Bytes(), flow.Limits{})
	if !errors.Is(err, flow.ErrDamaged) || counts.Packets != 1 || len(c.closed) != 1 || !strings.Contains(err.Error(), "300008 bytes") {
		t.Errorf("%v: %d packets, %d flows", err, counts.Packets, len(c.closed))
	}
}

// TestLinkTypes sends one datagram in every wrapping that captures have.
func TestLinkTypes(t *testing.T) {
	udp := append([]byte{0xc3, 0x50, 1, 0xbb, 0, 12, 0, 0}, "data"...)
	v4 := flowtest.IPv4(client.Addr(), server.Addr(), 17, udp)
	v6 := flowtest.IPv6(netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("2001:db8::1"), 17, udp)
	extended := flowtest.IPv6(netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("2001:db8::1"), 0,
		append([]byte{60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0}, udp...))
	mac := make([]byte, 12)
	join := func(parts ...any) (b []byte) {
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
	for _, c := range []struct {
		name  string
		link  uint16
		frame []byte
	}{
		{"ethernet", 1, join(mac, "\x08\x00", v4)},
		{"ethernet padded", 1, join(mac, "\x08\x00", v4, make([]byte, 20))},
		{"ethernet ipv6", 1, join(mac, "\x86\xdd", v6)},
		{"ipv6 extension headers", 1, join(mac, "\x86\xdd", extended)},
		{"vlan", 1, join(mac, "\x81\x00\x00\x05\x08\x00", v4)},
		{"qinq", 1, join(mac, "\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00", v4)},
		{"mpls", 1, join(mac, "\x88\x47\x00\x01\x00\xff\x00\x01\x01\xff", v4)},
		{"pseudowire", 1, join(mac, "\x88\x47\x00\x01\x01\xff\x00\x00\x00\x00", mac, "\x08\x00", v4)},
		{"pppoe", 1, join(mac, "\x88\x64\x11\x00\x00\x01\x00\x30\x00\x21", v4)},
		{"linux cooked", 113, join(make([]byte, 14), "\x08\x00", v4)},
		{"linux cooked 2", 276, join("\x08\x00", make([]byte, 18), v4)},
		{"raw", 101, v4}, {"raw ipv6", 101, v6}, {"raw of bsd", 12, v4}, {"ipv4", 228, v4}, {"ipv6", 229, v6},
		{"null", 0, join("\x02\x00\x00\x00", v4)},
		{"loop", 108, join("\x00\x00\x00\x02", v4)},
		{"ppp", 9, join("\xff\x03\x00\x21", v4)},
		{"ppp compressed", 9, join("\x21", v4)},
		{"hdlc", 104, join("\x0f\x00\x08\x00", v4)},
		{"wifi", 105, join("\x08\x01", make([]byte, 22), "\xaa\xaa\x03\x00\x00\x00\x08\x00", v4)},
		{"radiotap", 127, join("\x00\x00\x08\x00\x00\x00\x00\x00\x88\x01", make([]byte, 24), "\xaa\xaa\x03\x00\x00\x00\x08\x00", v4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, counts, err := read(t, pcap(t, c.link, c.frame), flow.Limits{})
			if err != nil || len(got.closed) != 1 || counts.Packets != 1 {
				t.Fatalf("%d flows of %d packets, %v", len(got.closed), counts.Packets, err)
			}
			f := got.closed[0]
			if f.ProtoName() != "udp" || f.Client.Port() != 50000 || f.Server.Port() != 443 {
				t.Errorf("%s %s → %s", f.ProtoName(), f.Client, f.Server)
			}
		})
	}
}

func TestDirections(t *testing.T) {
	synack := flowtest.TCPFrame(server, client, 9, 1, 0x12, nil)
	data := flowtest.TCPFrame(server, client, 9, 1, 0x18, []byte("hello"))
	for _, c := range []struct {
		name   string
		frame  []byte
		client netip.AddrPort
	}{{"a SYN+ACK comes from the server", synack, client}, {"the middle begins with whoever speaks", data, server}} {
		got, _, err := read(t, pcap(t, 1, c.frame), flow.Limits{})
		if err != nil || len(got.closed) != 1 || got.closed[0].Client.AddrPort() != c.client {
			t.Errorf("%s: %v, %v", c.name, got.closed[0].Client, err)
		}
	}
}

func TestFragmentsAfterTheFirstAreNotCounted(t *testing.T) {
	whole := flowtest.UDPFrame(client, server, bytes.Repeat([]byte("x"), 64))
	first, second := bytes.Clone(whole), bytes.Clone(whole)
	binary.BigEndian.PutUint16(first[20:], 0x2000)
	binary.BigEndian.PutUint16(second[20:], 0x0008)
	got, counts, err := read(t, pcap(t, 1, first, second), flow.Limits{})
	if err != nil || len(got.closed) != 1 || counts.Packets != 1 {
		t.Errorf("%d flows, %d packets, %v", len(got.closed), counts.Packets, err)
	}
}

// fragmented cuts the IPv4 packet in a frame into fragments of the size, which is a multiple of eight.
func fragmented(frame []byte, size int) (out [][]byte) {
	payload := frame[34:]
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		f := append(bytes.Clone(frame[:34]), payload[at:end]...)
		binary.BigEndian.PutUint16(f[16:], uint16(20+end-at))
		flags := uint16(at / 8)
		if end < len(payload) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(f[18:], 7)
		binary.BigEndian.PutUint16(f[20:], flags)
		out = append(out, f)
	}
	return out
}

// TestFragmentsAreReadTogether: a question cut into small pieces, in any order, is read; it is counted once.
func TestFragmentsAreReadTogether(t *testing.T) {
	whole := flowtest.UDPFrame(client, netip.MustParseAddrPort("192.0.2.53:53"), flowtest.Question("cut.example.org"))
	pieces := fragmented(whole, 8)
	late := append([][]byte{pieces[0]}, pieces[2:]...)
	late = append(late, pieces[1])
	overlapping := bytes.Clone(pieces[2])
	binary.BigEndian.PutUint16(overlapping[20:], 0x2001)
	overlapping = append(overlapping, "12345678"...)
	binary.BigEndian.PutUint16(overlapping[16:], uint16(len(overlapping)-14))
	for _, c := range []struct {
		name   string
		frames [][]byte
		found  bool
	}{
		{"in order", pieces, true}, {"out of order", late, true}, {"doubled", append([][]byte{pieces[0], pieces[0]}, pieces[1:]...), true},
		{"one is missing", append([][]byte{pieces[0]}, pieces[2:]...), false},
		{"overlapping", append([][]byte{pieces[0], pieces[1], overlapping}, pieces[2:]...), false},
	} {
		got, counts, err := read(t, pcap(t, 1, c.frames...), flow.Limits{})
		if err != nil || len(got.closed) != 1 {
			t.Fatalf("%s: %d flows, %v", c.name, len(got.closed), err)
		}
		facts := got.facts
		if found := len(facts) > 0 && facts[0].Get("name") == "cut.example.org"; found != c.found {
			t.Errorf("%s: found %v", c.name, facts)
		}
		if c.name == "in order" && counts.Packets != 1 {
			t.Errorf("%d packets counted", counts.Packets)
		}
	}
}

// TestFragmentFlood: first fragments of packets that never end keep a bounded number.
func TestFragmentFlood(t *testing.T) {
	whole := flowtest.UDPFrame(client, server, make([]byte, 1200))
	var frames [][]byte
	for i := range 3000 {
		f := bytes.Clone(fragmented(whole, 800)[0])
		binary.BigEndian.PutUint16(f[18:], uint16(i))
		frames = append(frames, f)
	}
	got, counts, err := read(t, pcap(t, 1, frames...), flow.Limits{})
	if err != nil || len(got.closed) != 1 || counts.Packets != 3000 {
		t.Errorf("%d flows, %d packets, %v", len(got.closed), counts.Packets, err)
	}
}

// TestReassembly sends a request in segments that are late, doubled and overlap.
func TestReassembly(t *testing.T) {
	request := "GET /chat HTTP/1.1\r\nHost: web.example.org\r\nUser-Agent: test\r\n\r\n"
	at := func(from, to int) []byte {
		return flowtest.TCPFrame(client, server, uint32(101+from), 1, 0x18, []byte(request[from:to]))
	}
	b := pcap(t, 1, flowtest.TCPFrame(client, server, 100, 0, 2, nil), flowtest.TCPFrame(server, client, 0, 101, 0x12, nil),
		at(40, len(request)), at(0, 10), at(0, 10), at(20, 40), at(5, 22))
	got, _, err := read(t, b, flow.Limits{})
	if err != nil || len(got.closed) != 1 {
		t.Fatal(len(got.closed), err)
	}
	facts := got.facts
	if len(facts) != 1 || facts[0].Get("name") != "web.example.org" {
		t.Errorf("found %v", facts)
	}
}

func TestIdleFlowsEnd(t *testing.T) {
	c := &collector{}
	tracker := flow.NewTracker(c, flow.Limits{Idle: time.Minute})
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, start)
	w.UDP(client, server, []byte("one"))
	w.Wait(2 * time.Minute)
	w.UDP(netip.AddrPortFrom(client.Addr(), 50001), server, []byte("two"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := flow.ReadCapture(t.Context(), &b, tracker); err != nil {
		t.Fatal(err)
	}
	if len(c.closed) != 2 || c.closed[0].Client.Port() != 50000 || c.settled != 2 {
		t.Errorf("%d closed, %d settled", len(c.closed), c.settled)
	}
}

// counter is a flow.Handler that only counts.
type counter struct{ closed, evicted int }

func (c *counter) Opened(*flow.Flow)                 {}
func (c *counter) Learned(*flow.Flow, []decode.Fact) {}
func (c *counter) Settled(*flow.Flow)                {}
func (c *counter) Closed(_ *flow.Flow, evicted bool) {
	c.closed++
	if evicted {
		c.evicted++
	}
}

// flood writes n flows of one SYN each to a pipe-like reader without holding them.
type flood struct {
	frame []byte
	n     uint32
	head  []byte
	buf   []byte
}

func newFlood(t testing.TB, n uint32) *flood {
	frame := flowtest.TCPFrame(client, server, 1, 0, 2, nil)
	head := pcap(t, 1)
	return &flood{frame: frame, n: n, head: head}
}

// Read makes the next packets, each from another address.
func (f *flood) Read(b []byte) (int, error) {
	if len(f.head) > 0 {
		n := copy(b, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	if len(f.buf) == 0 {
		if f.n == 0 {
			return 0, io.EOF
		}
		f.n--
		binary.BigEndian.PutUint32(f.frame[26:], f.n)
		f.buf = binary.LittleEndian.AppendUint32(f.buf, uint32(start.Unix()))
		f.buf = binary.LittleEndian.AppendUint32(f.buf, 0)
		f.buf = binary.LittleEndian.AppendUint32(f.buf, uint32(len(f.frame)))
		f.buf = binary.LittleEndian.AppendUint32(f.buf, uint32(len(f.frame)))
		f.buf = append(f.buf, f.frame...)
	}
	n := copy(b, f.buf)
	f.buf = f.buf[:copy(f.buf, f.buf[n:])]
	return n, nil
}

func TestFloodKeepsMemoryBounded(t *testing.T) {
	const flows, room = 1_000_000, 20_000
	c := &counter{}
	tracker := flow.NewTracker(c, flow.Limits{Flows: room})
	if _, err := flow.ReadCapture(t.Context(), newFlood(t, flows), tracker); err != nil {
		t.Fatal(err)
	}
	if c.closed != flows || c.evicted != flows-room || tracker.Counts().Evicted != flows-room {
		t.Errorf("%d closed, %d evicted", c.closed, c.evicted)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > 128<<20 {
		t.Errorf("%d MiB in use after the flood", m.HeapInuse>>20)
	}
}

func FuzzCapture(f *testing.F) {
	frame := flowtest.UDPFrame(client, netip.MustParseAddrPort("192.0.2.53:53"), flowtest.Question("a.example"))
	f.Add(uint16(1), frame, []byte{})
	f.Add(uint16(113), append(make([]byte, 14), frame[12:]...), []byte{0})
	f.Add(uint16(9), append([]byte{0, 0x21}, frame[14:]...), []byte("x"))
	f.Add(uint16(127), append([]byte{0, 0, 8, 0, 0, 0, 0, 0}, frame...), frame)
	f.Fuzz(func(t *testing.T, link uint16, one, two []byte) {
		if len(one) > 65535 || len(two) > 65535 {
			return
		}
		if _, _, err := read(t, pcap(t, link, one, two), flow.Limits{Flows: 1}); err != nil && !errors.Is(err, flow.ErrLinkType) {
			t.Fatal(err)
		}
		read(t, one, flow.Limits{})
	})
}

func BenchmarkSteadyFlow(b *testing.B) {
	var capture bytes.Buffer
	w := flowtest.NewWriter(&capture, start)
	for range 100 {
		w.UDP(client, server, []byte("nothing that anybody knows"))
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		tracker := flow.NewTracker(&counter{}, flow.Limits{})
		if _, err := flow.ReadCapture(b.Context(), bytes.NewReader(capture.Bytes()), tracker); err != nil {
			b.Fatal(err)
		}
	}
}

// TestUnfinishedHellosAreBounded: many flows that begin something and never end it may hold so much together, and no more.
func TestUnfinishedHellosAreBounded(t *testing.T) {
	const room = 1 << 20
	var frames [][]byte
	for i := range 3000 {
		from := netip.AddrPortFrom(client.Addr(), uint16(1000+i))
		hello := append([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3}, make([]byte, 1000)...)
		frames = append(frames, flowtest.TCPFrame(from, server, 1, 1, 0x18, hello))
	}
	packets, err := flowtest.QUICInitials("unfinished.example.org", 900)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		frames = append(frames, flowtest.UDPFrame(netip.AddrPortFrom(client.Addr(), uint16(1000+i)), server, packets[0]))
	}
	c := &peak{}
	tracker := flow.NewTracker(c, flow.Limits{Memory: room})
	c.held = tracker.Held
	if _, err := flow.ReadCapture(t.Context(), bytes.NewReader(pcap(t, 1, frames...)), tracker); err != nil {
		t.Fatal(err)
	}
	if c.most > room+1<<16 || tracker.Counts().Unread == 0 {
		t.Errorf("%d bytes held, %d flows unread", c.most, tracker.Counts().Unread)
	}
	if tracker.Held() != 0 {
		t.Errorf("%d bytes held at the end", tracker.Held())
	}
}

// peak is a flow.Handler that notes the most bytes that were held.
type peak struct {
	counter
	held func() int
	most int
}

func (p *peak) Opened(*flow.Flow) { p.most = max(p.most, p.held()) }
