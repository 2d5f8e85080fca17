package flow

import (
	"unsafe"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// tcpState is what is kept of a TCP flow while decoders look at it.
type tcpState struct {
	wait
	client, server stream
	decoders       decode.Stream
	seen           int64 // packets with payload
}

// udpState is what is kept of a UDP flow while decoders look at it.
type udpState struct {
	wait
	decode.Datagrams
}

// What these cost is counted with what they hold.
const (
	tcpSize     = int(unsafe.Sizeof(tcpState{}))
	udpSize     = int(unsafe.Sizeof(udpState{}))
	segmentSize = int(unsafe.Sizeof(segment{}))
)

// stream is the beginning of one direction, put in order.
type stream struct {
	buf     []byte
	later   []segment
	held    int // bytes of buf's and later's memory
	next    uint32
	started bool
	full    bool
	lent    bool // buf is part of the packet: what is to stay must be kept
}

type segment struct {
	seq  uint32
	data []byte
}

// maxLater bounds the segments that are kept out of order.
const maxLater = 16

// begin notes the sequence number of the first byte.
func (s *stream) begin(seq uint32) {
	if !s.started {
		s.next, s.started = seq, true
	}
}

// add puts data at its place and reports whether the ordered beginning grew. What comes first is not copied yet: most flows are known by
// one packet.
func (s *stream) add(b *buffers, seq uint32, data []byte, limit int) bool {
	s.begin(seq)
	if s.full || len(data) == 0 {
		return false
	}
	ahead := int32(seq - s.next)
	if ahead > 0 {
		s.postpone(b, seq, data, limit, int(ahead))
		return false
	}
	before := len(s.buf)
	if before == 0 && len(s.later) == 0 && ahead == 0 {
		s.buf, s.lent = data[:min(len(data), limit):min(len(data), limit)], true
		s.full = len(data) >= limit
		s.next += uint32(len(s.buf))
		return true
	}
	s.take(b, seq, data, limit)
	for again := true; again && !s.full; {
		again = false
		for i, seg := range s.later {
			if int32(seg.seq-s.next) <= 0 {
				s.later = append(s.later[:i], s.later[i+1:]...)
				s.held -= cap(seg.data) + segmentSize
				s.take(b, seg.seq, seg.data, limit)
				b.put(seg.data)
				again = true
				break
			}
		}
	}
	return len(s.buf) > before
}

// postpone keeps a segment that comes before those it follows.
func (s *stream) postpone(b *buffers, seq uint32, data []byte, limit, ahead int) {
	if len(s.later) >= maxLater || ahead >= limit || s.held+len(data) > 2*limit {
		return
	}
	kept := append(b.get(len(data)), data...)
	s.later = append(s.later, segment{seq, kept})
	s.held += cap(kept) + segmentSize
}

// take appends what is new in data, which begins at or before the next byte.
func (s *stream) take(b *buffers, seq uint32, data []byte, limit int) {
	old := int(s.next - seq)
	if old >= len(data) {
		return
	}
	data = data[old:]
	if room := limit - len(s.buf); len(data) >= room {
		data, s.full = data[:room], true
	}
	s.held -= cap(s.buf)
	s.buf = append(b.grown(s.buf, len(data)), data...)
	s.held += cap(s.buf)
	s.next += uint32(len(data))
}

// keep copies what was lent, for the packets to come.
func (s *stream) keep(b *buffers) {
	if s.lent {
		s.buf, s.lent = append(b.get(len(s.buf)), s.buf...), false
		s.held += cap(s.buf)
	}
}

// drop forgets all, and takes nothing more.
func (s *stream) drop(b *buffers) {
	if !s.lent {
		b.put(s.buf)
	}
	for _, seg := range s.later {
		b.put(seg.data)
	}
	*s = stream{next: s.next, started: s.started, full: true}
}

// look gives the payload of p to the decoders of f.
func (t *Tracker) look(f *Flow, p *Packet, fromClient bool) {
	switch f.Proto {
	case protoTCP:
		t.lookTCP(f, p, fromClient)
	case protoUDP:
		t.lookUDP(f, p, fromClient)
	default:
		t.settle(f)
	}
}

func (t *Tracker) lookTCP(f *Flow, p *Packet, fromClient bool) {
	side, at := 0, p.Seq
	if !fromClient {
		side = 1
	}
	if p.Flags&flagSYN != 0 {
		at++ // what is said with the SYN itself (RFC 7413) comes behind it
		if !f.began[side] {
			f.began[side], f.isn[side] = true, at
		}
	}
	if len(p.Payload) == 0 {
		return
	}
	s := f.tcp
	if s == nil {
		s = t.newTCP(f)
	}
	stream := &s.client
	if !fromClient {
		stream = &s.server
	}
	if f.began[side] {
		stream.begin(f.isn[side])
	}
	s.seen++
	if stream.add(&t.buffers, at, p.Payload, t.limits.Stream) && t.ask(f, s) {
		t.settle(f)
		return
	}
	if s.seen >= t.limits.Budget || s.client.full && s.server.full {
		t.settle(f)
		return
	}
	stream.keep(&t.buffers)
	t.hold(f, &s.wait, tcpSize+s.client.held+s.server.held)
}

// ask asks the decoders of a TCP flow, and reports whether they have told all.
func (t *Tracker) ask(f *Flow, s *tcpState) bool {
	in := &t.segments
	in.Client, in.Server, in.Middle = s.client.buf, s.server.buf, f.Middle
	in.ClientPort, in.ServerPort = f.Client.Port(), f.Server.Port()
	facts, done := s.decoders.Look(in)
	in.Client, in.Server = nil, nil
	t.learn(f, facts)
	if !done && !f.Middle && s.decoders.ServerOnly() {
		s.client.drop(&t.buffers)
	}
	return done
}

func (t *Tracker) lookUDP(f *Flow, p *Packet, fromClient bool) {
	if len(p.Payload) == 0 {
		return
	}
	s := f.udp
	if s == nil {
		s = t.newUDP(f)
	}
	t.datagram = decode.Datagram{
		Payload: p.Payload, FromClient: fromClient, Cut: p.Cut,
		ClientPort: f.Client.Port(), ServerPort: f.Server.Port(),
		Source: p.Src, Destination: p.Dst, V6: p.V6,
	}
	facts, done := s.Look(&t.datagram)
	t.datagram.Payload = nil
	t.learn(f, facts)
	if done || s.Seen() >= t.limits.Budget {
		t.settle(f)
		return
	}
	t.hold(f, &s.wait, udpSize+s.Held())
}

func (t *Tracker) newTCP(f *Flow) *tcpState {
	f.tcp = spare(&t.spareTCP)
	return f.tcp
}

func (t *Tracker) newUDP(f *Flow) *udpState {
	f.udp = spare(&t.spareUDP)
	return f.udp
}

// spare takes a state that was used before, or makes a new one.
func spare[T any](used *[]*T) *T {
	last := len(*used) - 1
	if last < 0 {
		return new(T)
	}
	state := (*used)[last]
	*used = (*used)[:last]
	return state
}

// maxSpare bounds the states that wait to be used again.
const maxSpare = 1 << 10

// last asks what is to be said of a flow that no decoder knew.
func (t *Tracker) last(f *Flow) {
	if f.tcp != nil {
		t.learn(f, f.tcp.decoders.Last(&decode.Segments{Client: f.tcp.client.buf, Server: f.tcp.server.buf, Middle: f.Middle}))
	}
}

// forget drops what decoders needed of f.
func (t *Tracker) forget(f *Flow) {
	w := f.wait()
	if w == nil {
		return
	}
	w.unlink()
	t.held -= int(w.held)
	if s := f.tcp; s != nil {
		s.client.drop(&t.buffers)
		s.server.drop(&t.buffers)
		if *s = (tcpState{}); len(t.spareTCP) < maxSpare {
			t.spareTCP = append(t.spareTCP, s)
		}
	} else if s := f.udp; s != nil {
		if *s = (udpState{}); len(t.spareUDP) < maxSpare {
			t.spareUDP = append(t.spareUDP, s)
		}
	}
	f.tcp, f.udp = nil, nil
}
