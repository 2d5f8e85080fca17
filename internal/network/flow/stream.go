package flow

import (
	"unsafe"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// tcpState is what is kept of a TCP flow while decoders look at it. Many wait for the first word of one side: a side that has said nothing,
// or has no more to say, takes no room.
type tcpState struct {
	wait
	sides    [2]*stream // of the client and the server; nil before it has spoken, and once it was dropped
	decoders decode.Stream
	seen     uint32  // packets with payload
	full     [2]bool // nothing more is taken of the side
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
	streamSize  = int(unsafe.Sizeof(stream{}))
	segmentSize = int(unsafe.Sizeof(segment{}))
)

// stream is the beginning of one direction, put in order.
type stream struct {
	buf     []byte
	later   []segment
	held    int32 // bytes of buf's and later's memory
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
				s.held -= int32(cap(seg.data) + segmentSize)
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
	if len(s.later) >= maxLater || ahead >= limit || int(s.held)+len(data) > 2*limit {
		return
	}
	kept := append(b.get(len(data)), data...)
	s.later = append(s.later, segment{seq, kept})
	s.held += int32(cap(kept) + segmentSize)
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
	s.held -= int32(cap(s.buf))
	s.buf = append(b.grown(s.buf, len(data)), data...)
	s.held += int32(cap(s.buf))
	s.next += uint32(len(data))
}

// keep copies what was lent, for the packets to come.
func (s *stream) keep(b *buffers) {
	if s.lent {
		s.buf, s.lent = append(b.get(len(s.buf)), s.buf...), false
		s.held += int32(cap(s.buf))
	}
}

// drop gives back all memory.
func (s *stream) drop(b *buffers) {
	if !s.lent {
		b.put(s.buf)
	}
	for _, seg := range s.later {
		b.put(seg.data)
	}
	s.buf, s.later = nil, nil
}

// side returns the stream of a side that has more to say, or nil.
func (t *Tracker) side(s *tcpState, side int) *stream {
	if s.sides[side] == nil && !s.full[side] {
		s.sides[side] = t.streams.take()
	}
	return s.sides[side]
}

// drop forgets what a side said, and takes nothing more of it.
func (t *Tracker) drop(s *tcpState, side int) {
	if stream := s.sides[side]; stream != nil {
		stream.drop(&t.buffers)
		t.streams.put(stream)
	}
	s.sides[side], s.full[side] = nil, true
}

// said returns the beginning of what a side said.
func (s *tcpState) said(side int) []byte {
	if s.sides[side] == nil {
		return nil
	}
	return s.sides[side].buf
}

func (s *tcpState) isFull(side int) bool {
	return s.full[side] || s.sides[side] != nil && s.sides[side].full
}

// bytes returns how much is kept for a flow.
func (s *tcpState) bytes() int {
	n := tcpSize
	for _, side := range s.sides {
		if side != nil {
			n += streamSize + int(side.held)
		}
	}
	return n
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
	if f.looked == 0 {
		f.looked = t.tcp.take()
	}
	s := t.tcp.at(f.looked)
	s.seen++
	if stream := t.side(s, side); stream != nil {
		if f.began[side] {
			stream.begin(f.isn[side])
		}
		if stream.add(&t.buffers, at, p.Payload, t.limits.Stream) && t.ask(f, s) {
			t.settle(f)
			return
		}
	}
	if int64(s.seen) >= t.limits.Budget || s.isFull(0) && s.isFull(1) {
		t.settle(f)
		return
	}
	if stream := s.sides[side]; stream != nil {
		stream.keep(&t.buffers)
	}
	t.hold(f, &s.wait, s.bytes())
}

// ask asks the decoders of a TCP flow, and reports whether they have told all.
func (t *Tracker) ask(f *Flow, s *tcpState) bool {
	in := &t.segments
	in.Client, in.Server, in.Middle = s.said(0), s.said(1), f.Middle
	in.ClientPort, in.ServerPort = f.Client.Port(), f.Server.Port()
	facts, done := s.decoders.Look(in)
	in.Client, in.Server = nil, nil
	t.learn(f, facts)
	if !done && !f.Middle && s.decoders.ServerOnly() {
		t.drop(s, 0)
	}
	return done
}

func (t *Tracker) lookUDP(f *Flow, p *Packet, fromClient bool) {
	if len(p.Payload) == 0 {
		return
	}
	if f.looked == 0 {
		f.looked = t.udp.take()
	}
	s := t.udp.at(f.looked)
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

// last asks what is to be said of a flow that no decoder knew.
func (t *Tracker) last(f *Flow) {
	if f.looked == 0 || f.Proto != protoTCP {
		return
	}
	s := t.tcp.at(f.looked)
	t.learn(f, s.decoders.Last(&decode.Segments{Client: s.said(0), Server: s.said(1), Middle: f.Middle}))
}

// forget drops what decoders needed of f.
func (t *Tracker) forget(f *Flow) {
	w := t.wait(f)
	if w == nil {
		return
	}
	if w.flow != 0 {
		t.unlink(t.waitingWith(f), w)
	}
	t.held -= int(w.held)
	if f.Proto == protoTCP {
		s := t.tcp.at(f.looked)
		t.drop(s, 0)
		t.drop(s, 1)
		t.tcp.put(f.looked)
	} else {
		t.udp.put(f.looked)
	}
	f.looked = 0
}
