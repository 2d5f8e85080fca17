package flow

import "github.com/chaperone-im/chaperone/internal/network/flow/decode"

// tcpState is what is kept of a TCP flow while decoders look at it.
type tcpState struct {
	client, server stream
	seen           int64 // packets with payload
	decoders       decode.Stream
}

// stream is the beginning of one direction, put in order.
type stream struct {
	next    uint32
	started bool
	full    bool
	held    int // bytes in buf and later
	buf     []byte
	later   []segment
}

type segment struct {
	seq  uint32
	data []byte
}

// maxLater bounds the segments that are kept out of order.
const maxLater = 16

// syn notes the sequence number of the first byte.
func (s *stream) syn(seq uint32) {
	if !s.started {
		s.next, s.started = seq+1, true
	}
}

// add puts data at its place and reports whether the ordered beginning grew.
func (s *stream) add(seq uint32, data []byte, limit int) bool {
	if !s.started {
		s.next, s.started = seq, true
	}
	if s.full || len(data) == 0 {
		return false
	}
	ahead := int32(seq - s.next)
	if ahead > 0 {
		if len(s.later) < maxLater && int(ahead) < limit && s.held+len(data) <= 2*limit {
			s.later = append(s.later, segment{seq, append([]byte(nil), data...)})
			s.held += len(data)
		}
		return false
	}
	before := len(s.buf)
	s.take(seq, data, limit)
	for again := true; again && !s.full; {
		again = false
		for i, seg := range s.later {
			if int32(seg.seq-s.next) <= 0 {
				s.later = append(s.later[:i], s.later[i+1:]...)
				s.held -= len(seg.data)
				s.take(seg.seq, seg.data, limit)
				again = true
				break
			}
		}
	}
	return len(s.buf) > before
}

// take appends what is new in data, which begins at or before the next byte.
func (s *stream) take(seq uint32, data []byte, limit int) {
	old := int(s.next - seq)
	if old >= len(data) {
		return
	}
	data = data[old:]
	if room := limit - len(s.buf); len(data) >= room {
		data, s.full = data[:room], true
	}
	s.buf = append(s.buf, data...)
	s.held += len(data)
	s.next += uint32(len(data))
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
	if f.tcp == nil {
		f.tcp = &tcpState{}
	}
	s := &f.tcp.client
	if !fromClient {
		s = &f.tcp.server
	}
	at := p.Seq
	if p.Flags&flagSYN != 0 {
		s.syn(p.Seq)
		at++ // what is said with the SYN itself (RFC 7413) comes behind it
	}
	if len(p.Payload) == 0 {
		return
	}
	if t.held >= t.limits.Memory {
		t.counts.Unread++
		t.settle(f)
		return
	}
	f.tcp.seen++
	before := s.held
	grown := s.add(at, p.Payload, t.limits.Stream)
	t.held += s.held - before
	if grown {
		in := decode.Segments{
			Client: f.tcp.client.buf, Server: f.tcp.server.buf,
			ClientPort: f.Client.Port(), ServerPort: f.Server.Port(), Middle: f.Middle,
		}
		facts, done := f.tcp.decoders.Look(&in)
		t.learn(f, facts)
		if done {
			t.settle(f)
			return
		}
	}
	if f.tcp.seen >= t.limits.Budget || (f.tcp.client.full && f.tcp.server.full) {
		t.settle(f)
	}
}

func (t *Tracker) lookUDP(f *Flow, p *Packet, fromClient bool) {
	if len(p.Payload) == 0 {
		return
	}
	if f.udp == nil {
		f.udp = &decode.Datagrams{}
	}
	in := decode.Datagram{
		Payload: p.Payload, FromClient: fromClient, Cut: p.Cut,
		ClientPort: f.Client.Port(), ServerPort: f.Server.Port(),
		Source: p.Src, Destination: p.Dst, V6: p.V6,
	}
	before := f.udp.Held()
	facts, done := f.udp.Look(&in)
	t.held += f.udp.Held() - before
	t.learn(f, facts)
	if t.held >= t.limits.Memory && !done {
		t.counts.Unread++
		done = true
	}
	if done || f.udp.Seen() >= t.limits.Budget {
		t.settle(f)
	}
}

// forget drops what decoders needed of f.
func (t *Tracker) forget(f *Flow) {
	if f.tcp != nil {
		t.held -= f.tcp.client.held + f.tcp.server.held
		f.tcp = nil
	}
	if f.udp != nil {
		t.held -= f.udp.Held()
		f.udp = nil
	}
}
