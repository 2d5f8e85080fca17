package flow

import "time"

// part is a fragment of an IP packet.
type part struct {
	is     bool
	more   bool  // others follow
	cut    bool  // the capture does not hold all of it
	next   uint8 // what the whole begins with: in IPv6 another extension header may be
	id     uint32
	offset int
	data   []byte
}

// fragmentKey says which packet a fragment belongs to (RFC 791, section 3.2; RFC 8200, section 4.5).
type fragmentKey struct {
	src, dst [16]byte
	id       uint32
	proto    uint8
}

// whole is a packet whose fragments are being gathered.
type whole struct {
	key   fragmentKey
	since time.Time
	size  int // known once the last fragment has come
	have  int
	parts []span
	buf   []byte
}

type span struct{ from, to int }

// fragments gathers the fragments of a bounded number of packets. Counting is not its business: only the first fragment of a packet is
// counted. It gives decoders what somebody may have cut in pieces to hide it.
type fragments struct {
	sets  map[fragmentKey]*whole
	order []*whole // the oldest first
}

const (
	maxWholes   = 64
	maxParts    = 64
	maxWhole    = 1<<16 - 1
	keepPart    = 30 * time.Second
	unknownSize = -1
)

// add keeps the fragment in p and returns the payload of the IP packet when it is complete.
func (g *fragments) add(p *Packet) []byte {
	key := fragmentKey{p.Src, p.Dst, p.part.id, p.part.next}
	w := g.sets[key]
	if w != nil && p.Time.Sub(w.since) > keepPart {
		g.drop(w)
		w = nil
	}
	if w == nil {
		w = g.open(key, p.Time)
	}
	from, to := p.part.offset, p.part.offset+len(p.part.data)
	if to > maxWhole || len(w.parts) == maxParts || p.part.cut {
		g.drop(w)
		return nil
	}
	for _, s := range w.parts {
		if s.from == from && s.to == to { // the same again
			return nil
		}
		if from < s.to && s.from < to { // overlap is hostile (RFC 5722): nobody knows what the receiver makes of it
			g.drop(w)
			return nil
		}
	}
	if to > len(w.buf) {
		w.buf = append(w.buf, make([]byte, to-len(w.buf))...)
	}
	copy(w.buf[from:], p.part.data)
	w.parts = append(w.parts, span{from, to})
	w.have += to - from
	if !p.part.more {
		w.size = to
	}
	if w.size != unknownSize && len(w.buf) > w.size { // something lies behind the end: what holes there are nobody knows
		g.drop(w)
		return nil
	}
	if w.size != w.have {
		return nil
	}
	g.drop(w)
	return w.buf[:w.size]
}

func (g *fragments) open(key fragmentKey, now time.Time) *whole {
	if g.sets == nil {
		g.sets = map[fragmentKey]*whole{}
	}
	if len(g.order) >= maxWholes {
		g.drop(g.order[0])
	}
	w := &whole{key: key, since: now, size: unknownSize}
	g.sets[key] = w
	g.order = append(g.order, w)
	return w
}

func (g *fragments) drop(w *whole) {
	delete(g.sets, w.key)
	for i, o := range g.order {
		if o == w {
			g.order = append(g.order[:i], g.order[i+1:]...)
			return
		}
	}
}

// fragment gathers the fragment in p; when its packet is complete, the decoders see it.
func (t *Tracker) fragment(p *Packet) {
	payload := t.fragments.add(p)
	if payload == nil {
		return
	}
	again := *p
	again.Proto = p.part.next
	if p.V6 && !again.decodeExtensions(p.part.next, payload, false) || !p.V6 && !again.decodeTransport(payload, false) {
		return
	}
	src, dst := again.ends()
	if f, fromClient := t.table.find(t.table.hash(&again), again.Proto, &src, &dst); f != nil && !f.Settled {
		t.look(f, &again, fromClient)
	}
}
