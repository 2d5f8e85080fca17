package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// profile is traffic that is hard to keep in memory.
type profile struct {
	name  string
	about string
	n     int // of flows, or of packets where there are few flows
	hides bool
	write func(c *capture, n int)
}

// profiles returns what is generated. Where a flood could hide messengers, some begin a second after it.
func profiles() []profile {
	return []profile{
		{"live-silent", "TCP flows after their handshake, all alive", 100_000, false, liveSilent},
		{"live-udp", "UDP flows of unknown bytes, in both directions, all alive", 100_000, false, liveUDP},
		{"live-tls", "TLS connections with a name of their own, all alive", 100_000, false, liveTLS},
		{"live-half", "TLS connections whose hello never ends, all alive", 100_000, false, liveHalf},
		{"flood-udp", "UDP flows of one datagram each", 10_000_000, true, floodUDP},
		{"flood-syn", "TCP flows of one SYN each", 10_000_000, true, floodSYN},
		{"flood-hello", "TLS connections that send half a hello", 2_000_000, true, floodHello},
		{"flood-dns", "questions and answers, each with another name, client and address", 1_000_000, true, floodDNS},
		{"flood-names", "the same with names of 240 bytes", 1_000_000, true, floodNames},
		{"flood-stun", "STUN requests, each from another socket", 2_000_000, true, floodSTUN},
		{"fragments", "first fragments of packets that never end, and pieces of others that do", 3_000_000, true, fragments},
		{"overlapping", "segments of 1,000 flows that overlap, repeat and leave holes", 3_000_000, true, overlapping},
		{"one-byte", "hellos in segments of one byte", 3_000_000, true, oneByte},
	}
}

// capture writes packets in the form of an old capture, a microsecond apart.
type capture struct {
	out     *bufio.Writer
	micros  uint64
	packets int64
	err     error
	hidden  func() // is called when a second has passed, and sends more each time
}

// flushSize is how much is written at once.
const flushSize = 1 << 18

func newCapture(w io.Writer) *capture {
	c := &capture{out: bufio.NewWriterSize(w, flushSize), micros: 1_700_000_000_000_000}
	var head [24]byte
	binary.LittleEndian.PutUint32(head[:], 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint16(head[6:], 4)
	binary.LittleEndian.PutUint32(head[16:], 1<<18)
	binary.LittleEndian.PutUint32(head[20:], 1)
	_, c.err = c.out.Write(head[:])
	return c
}

// frame writes one Ethernet frame.
func (c *capture) frame(b []byte) {
	var head [16]byte
	binary.LittleEndian.PutUint32(head[:], uint32(c.micros/1e6))
	binary.LittleEndian.PutUint32(head[4:], uint32(c.micros%1e6))
	binary.LittleEndian.PutUint32(head[8:], uint32(len(b)))
	binary.LittleEndian.PutUint32(head[12:], uint32(len(b)))
	if c.err == nil {
		_, c.err = c.out.Write(head[:])
	}
	if c.err == nil {
		_, c.err = c.out.Write(b)
	}
	c.micros++
	c.packets++
	if c.hidden != nil && c.packets%hiddenEvery == 0 && c.packets > hiddenAfter {
		send := c.hidden
		c.hidden = nil
		send()
		c.hidden = send
	}
}

// The hidden messengers begin after a second of a flood of a million packets a second, and send a packet every 20 ms.
const (
	hiddenAfter = 1_000_000
	hiddenEvery = 20_000
	hiddenSteps = 45 // after which all has been sent
)

// generate writes n of the profile, or its own number when n is 0.
func generate(w io.Writer, p profile, n int) (int64, error) {
	c := newCapture(w)
	if p.hides {
		c.hidden = messengers(c)
	}
	if n == 0 {
		n = p.n
	}
	p.write(c, n)
	if c.err != nil {
		return c.packets, fmt.Errorf("write %s: %w", p.name, c.err)
	}
	if err := c.out.Flush(); err != nil {
		return c.packets, fmt.Errorf("write %s: %w", p.name, err)
	}
	return c.packets, nil
}

// TCP flags.
const (
	syn = 0x02
	psh = 0x08
	ack = 0x10
)

// end returns the nth of many sockets.
func end(net byte, n int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{net, byte(n >> 16), byte(n >> 8), byte(n)}), port)
}

func server(n int) netip.AddrPort { return end(198, n%5000, 443) }

func liveSilent(c *capture, n int) {
	for _, step := range []func(i int) []byte{
		func(i int) []byte { return flowtest.TCPFrame(end(10, i, 40000), server(i), 1, 0, syn, nil) },
		func(i int) []byte { return flowtest.TCPFrame(server(i), end(10, i, 40000), 1, 2, syn|ack, nil) },
		func(i int) []byte { return flowtest.TCPFrame(end(10, i, 40000), server(i), 2, 2, ack, nil) },
	} {
		for i := range n {
			c.frame(step(i))
		}
	}
}

func liveUDP(c *capture, n int) {
	for round := range 4 {
		for i := range n {
			from, to := end(10, i, 40000), server(i)
			if round%2 == 1 {
				from, to = to, from
			}
			payload := binary.BigEndian.AppendUint64([]byte{0xee, byte(round)}, uint64(i)*0x9e3779b97f4a7c15)
			c.frame(flowtest.UDPFrame(from, to, payload))
		}
	}
}

// hello is a client hello whose name can be changed.
type hello struct {
	chunks []flowtest.Chunk
	at     int // of the name in the first chunk
}

const helloName = "n0000000.example.org"

func newHello(version uint16) (hello, error) {
	chunks, err := flowtest.Handshake(helloName, version)
	if err != nil {
		return hello{}, err
	}
	for at := range chunks[0].Data {
		if string(chunks[0].Data[at:min(at+len(helloName), len(chunks[0].Data))]) == helloName {
			return hello{chunks, at}, nil
		}
	}
	return hello{}, fmt.Errorf("no name in the hello")
}

// named puts the nth name into the hello.
func (h *hello) named(n int) []byte {
	copy(h.chunks[0].Data[h.at+1:], fmt.Sprintf("%07d", n))
	return h.chunks[0].Data
}

func liveTLS(c *capture, n int) {
	h, err := newHello(0x0304)
	if err != nil {
		c.err = err
		return
	}
	liveSilent(c, n)
	for i := range n {
		c.frame(flowtest.TCPFrame(end(10, i, 40000), server(i), 2, 2, ack|psh, h.named(i)))
	}
	for i := range n {
		c.frame(flowtest.TCPFrame(server(i), end(10, i, 40000), 2, 2, ack|psh, h.chunks[1].Data))
	}
}

func liveHalf(c *capture, n int) {
	h, err := newHello(0x0304)
	if err != nil {
		c.err = err
		return
	}
	liveSilent(c, n)
	for i := range n {
		c.frame(flowtest.TCPFrame(end(10, i, 40000), server(i), 2, 2, ack|psh, h.named(i)[:200]))
	}
}

// changed sends the frame n times, each time from another address and port.
func changed(c *capture, n int, frame []byte) {
	for i := range n {
		binary.BigEndian.PutUint32(frame[26:], 0x0b000000+uint32(i))
		binary.BigEndian.PutUint16(frame[34:], uint16(1024+i%50000))
		c.frame(frame)
	}
}

func floodUDP(c *capture, n int) {
	changed(c, n, flowtest.UDPFrame(end(11, 0, 1), server(1), []byte("nothing that anybody knows")))
}

func floodSYN(c *capture, n int) {
	changed(c, n, flowtest.TCPFrame(end(11, 0, 1), server(1), 1, 0, syn, nil))
}

func floodHello(c *capture, n int) {
	h, err := newHello(0x0304)
	if err != nil {
		c.err = err
		return
	}
	changed(c, n, flowtest.TCPFrame(end(11, 0, 1), server(1), 1, 0, ack|psh, h.named(0)[:200]))
}

func floodDNS(c *capture, n int) { questions(c, n, "") }

func floodNames(c *capture, n int) { questions(c, n, strings.Repeat(strings.Repeat("x", 54)+".", 4)) }

// questions are asked and answered, each of another name.
func questions(c *capture, n int, middle string) {
	resolver := netip.MustParseAddrPort("192.0.2.53:53")
	for i := range n {
		name := fmt.Sprintf("n%07d.%sexample.org", i, middle)
		from := end(11, i, uint16(1024+i%50000))
		c.frame(flowtest.UDPFrame(from, resolver, flowtest.Question(name)))
		c.frame(flowtest.UDPFrame(resolver, from, flowtest.Answer(name, server(i).Addr())))
	}
}

func floodSTUN(c *capture, n int) {
	changed(c, n, flowtest.UDPFrame(end(11, 0, 1), server(1), flowtest.STUN(1)))
}

func fragments(c *capture, n int) {
	whole := flowtest.UDPFrame(end(11, 0, 1), server(1), make([]byte, 1200))
	for i := range n {
		size := 34 + 8 + i%1000/8*8
		f := slices.Clone(whole[:size])
		binary.BigEndian.PutUint16(f[16:], uint16(size-14))
		binary.BigEndian.PutUint16(f[18:], uint16(i/3))
		binary.BigEndian.PutUint16(f[20:], 0x2000|uint16(i%3*16))
		binary.BigEndian.PutUint32(f[26:], 0x0b000000+uint32(i%100_000))
		c.frame(f)
	}
}

func overlapping(c *capture, n int) {
	data := make([]byte, 1400)
	copy(data, []byte{0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3})
	for i := range n {
		from, round := end(11, i%1000, 1024+uint16(i/60_000)), i/1000%60
		seq := uint32(round*700) - uint32(i*7919%1400)
		if round%3 == 2 {
			seq += 3000
		}
		c.frame(flowtest.TCPFrame(from, server(1), seq, 1, ack|psh, data[:1+i*31%1400]))
	}
}

func oneByte(c *capture, n int) {
	h, err := newHello(0x0304)
	if err != nil {
		c.err = err
		return
	}
	data := h.named(0)
	const flows = 60_000
	for i := range n {
		from, at := end(11, i%flows, 1024+uint16(i/(flows*40))), i/flows%40
		c.frame(flowtest.TCPFrame(from, server(1), uint32(1+at), 1, ack|psh, data[at:at+1]))
	}
}

// messengers returns a function that sends the next packets of a Telegram, a WhatsApp and a classic Skype each time it is called.
func messengers(c *capture) func() {
	phone := netip.MustParseAddr("10.99.0.7")
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(phone, port) }
	telegram := flowtest.Connection(at(40001), netip.MustParseAddrPort("203.0.113.51:443"), flowtest.Chunk{FromClient: true, Data: flowtest.MTProto()})
	whatsapp := flowtest.Connection(at(40002), netip.MustParseAddrPort("203.0.113.61:5222"),
		flowtest.Chunk{FromClient: true, Data: append([]byte("WA\x06\x03\x00\x00\x24\x12\x22\x0a\x20"), make([]byte, 32)...)})
	step := 0
	return func() {
		for _, frames := range [][][]byte{telegram, whatsapp} {
			if step < len(frames) {
				c.frame(frames[step])
			}
		}
		if step < 40 {
			peer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(100 + step)}), uint16(20000+step))
			c.frame(flowtest.UDPFrame(at(50123), peer, skypeProbe(uint16(0x4100+3*step))))
		}
		step++
	}
}

// skypeProbe is the first datagram that classic Skype sends to a peer: an object id, a function, and bytes that look random.
func skypeProbe(id uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 0x02)
	for i := range 25 {
		b = append(b, byte(uint32(id)*2654435761>>(i%24)))
	}
	return b
}

// hiddenApps are the messengers that a flood could hide.
func hiddenApps() []string { return []string{"telegram", "whatsapp", "skype"} }

// bulk is one connection that is known by its first bytes and goes on for n packets.
func bulk(c *capture, n int) {
	from, to := end(10, 1, 40000), netip.MustParseAddrPort("203.0.113.80:80")
	for _, frame := range flowtest.Connection(from, to, flowtest.Chunk{FromClient: true, Data: []byte("GET / HTTP/1.1\r\nHost: bulk.example.org\r\n\r\n")})[:4] {
		c.frame(frame)
	}
	data := flowtest.TCPFrame(to, from, 9001, 1047, ack, make([]byte, 64))
	for i := range n - 4 {
		binary.BigEndian.PutUint32(data[38:], uint32(9001+64*i))
		c.frame(data)
	}
}
