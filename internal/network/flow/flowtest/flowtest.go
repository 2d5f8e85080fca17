// Package flowtest makes captures: for the tests of the packages that read them, and a small one for demonstrations. The packets are
// generated, and never were on a wire; the handshakes in them are made by real protocol code where there is any.
package flowtest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Chunk is what one side of a conversation says at once.
type Chunk struct {
	FromClient bool
	Data       []byte
}

// TCP flags.
const (
	fin = 0x01
	syn = 0x02
	ack = 0x10
	psh = 0x08
)

// mss is how much of a chunk one TCP segment carries.
const mss = 1400

// Writer writes packets to a capture. The first error stays, and Close returns it.
type Writer struct {
	ng  *pcapgo.NgWriter
	now time.Time
	err error
}

// NewWriter begins a pcapng capture at the time, and says in it that it is generated.
func NewWriter(w io.Writer, at time.Time) *Writer {
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Application: "chaperone", Comment: "Generated for tests and demonstrations: these packets never were on a wire.",
	}}
	ng, err := pcapgo.NewNgWriterInterface(w, pcapgo.NgInterface{Name: "generated", LinkType: layers.LinkTypeEthernet, SnapLength: 1 << 18}, options)
	return &Writer{ng: ng, now: at, err: err}
}

// Close flushes the capture.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	return w.ng.Flush()
}

// Wait lets time pass.
func (w *Writer) Wait(d time.Duration) { w.now = w.now.Add(d) }

// Frame writes one Ethernet frame, and lets a millisecond pass.
func (w *Writer) Frame(b []byte) {
	if w.err == nil {
		w.err = w.ng.WritePacket(gopacket.CaptureInfo{Timestamp: w.now, CaptureLength: len(b), Length: len(b)}, b)
	}
	w.Wait(time.Millisecond)
}

// UDP writes one datagram.
func (w *Writer) UDP(from, to netip.AddrPort, payload []byte) { w.Frame(UDPFrame(from, to, payload)) }

// TCP writes a whole connection: handshake, what both sides say, and its end.
func (w *Writer) TCP(client, server netip.AddrPort, chunks ...Chunk) {
	for _, frame := range Connection(client, server, chunks...) {
		w.Frame(frame)
	}
}

// Connection makes the frames of a whole connection: handshake, what both sides say, and its end.
func Connection(client, server netip.AddrPort, chunks ...Chunk) [][]byte {
	c, s := uint32(1000), uint32(9000)
	frames := [][]byte{
		TCPFrame(client, server, c, 0, syn, nil),
		TCPFrame(server, client, s, c+1, syn|ack, nil),
		TCPFrame(client, server, c+1, s+1, ack, nil),
	}
	c, s = c+1, s+1
	for _, chunk := range chunks {
		for data := chunk.Data; len(data) > 0; {
			n := min(len(data), mss)
			if chunk.FromClient {
				frames = append(frames, TCPFrame(client, server, c, s, ack|psh, data[:n]))
				c += uint32(n)
			} else {
				frames = append(frames, TCPFrame(server, client, s, c, ack|psh, data[:n]))
				s += uint32(n)
			}
			data = data[n:]
		}
	}
	return append(frames, TCPFrame(client, server, c, s, fin|ack, nil), TCPFrame(server, client, s, c+1, fin|ack, nil))
}

// UDPFrame makes an Ethernet frame with one datagram.
func UDPFrame(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return Ethernet(from.Addr(), to.Addr(), 17, append(b, payload...))
}

// TCPFrame makes an Ethernet frame with one segment. Checksums are left to be computed by hardware, as in captures of one's own machine.
func TCPFrame(from, to netip.AddrPort, seq, acknowledge uint32, flags byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], acknowledge)
	b[12], b[13] = 5<<4, flags
	binary.BigEndian.PutUint16(b[14:], 65535)
	return Ethernet(from.Addr(), to.Addr(), 6, append(b, payload...))
}

// Ethernet makes an Ethernet frame with an IPv4 or IPv6 packet of the protocol.
func Ethernet(from, to netip.Addr, proto byte, payload []byte) []byte {
	frame := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	if from.Is4() {
		return append(append(frame, 0x08, 0x00), IPv4(from, to, proto, payload)...)
	}
	return append(append(frame, 0x86, 0xdd), IPv6(from, to, proto, payload)...)
}

// IPv4 makes an IPv4 packet.
func IPv4(from, to netip.Addr, proto byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

// IPv6 makes an IPv6 packet.
func IPv6(from, to netip.Addr, proto byte, payload []byte) []byte {
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], from.AsSlice())
	copy(b[24:], to.AsSlice())
	return append(b, payload...)
}

// WriteDemo writes a small capture of one machine that speaks to messengers: it asks for web.whatsapp.com and opens it, connects to
// Telegram, calls somebody by WhatsApp, and reads an ordinary site. The capture says that it is generated.
func WriteDemo(out io.Writer, client netip.Addr, at time.Time) error {
	w := NewWriter(out, at)
	port := func(p uint16) netip.AddrPort { return netip.AddrPortFrom(client, p) }
	resolver := netip.MustParseAddrPort("192.0.2.53:53")
	web, other := netip.MustParseAddr("192.0.2.60"), netip.MustParseAddr("192.0.2.80")
	for i, q := range []struct {
		name   string
		answer netip.Addr
	}{{"web.whatsapp.com", web}, {"www.example.org", other}} {
		from := port(uint16(40001 + i))
		w.UDP(from, resolver, Question(q.name))
		w.UDP(resolver, from, Answer(q.name, q.answer))
		chunks, err := Handshake(q.name, 0x0304)
		if err != nil {
			return fmt.Errorf("handshake for the demonstration: %w", err)
		}
		w.TCP(port(uint16(40011+i)), netip.AddrPortFrom(q.answer, 443), chunks...)
		w.Wait(time.Second)
	}
	w.TCP(port(40021), netip.MustParseAddrPort("149.154.167.51:443"), Chunk{true, MTProto()}, Chunk{false, make([]byte, 96)})
	relay, peer := netip.MustParseAddrPort("192.0.2.48:3478"), netip.MustParseAddrPort("198.51.100.7:50000")
	call := port(40031)
	w.UDP(call, relay, STUN(0x0003, Attribute{0x4002, make([]byte, 16)}))
	w.UDP(relay, call, STUN(0x0103))
	for n := range uint16(20) {
		w.UDP(call, peer, RTP(120, n))
		w.UDP(peer, call, RTP(120, n))
	}
	return w.Close()
}

// WriteSkype writes a small capture of one machine that is a node of classic Skype: one socket, many peers. It says that it is generated.
func WriteSkype(out io.Writer, client netip.Addr, at time.Time) error {
	w := NewWriter(out, at)
	for i := range uint16(12) {
		node := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(10 + i)}), 20000+977*i)
		w.UDP(netip.AddrPortFrom(client, 40041), node, SkypeProbe(1000+3*i))
		w.Wait(50 * time.Millisecond)
	}
	return w.Close()
}
