package flow

import (
	"net/netip"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// Flow is one flow: who speaks with whom, how much, and what the decoders found.
type Flow struct {
	Proto   uint8 // IP protocol number: 1, 6, 17 or 132
	Client  netip.AddrPort
	Server  netip.AddrPort
	First   time.Time
	Last    time.Time
	Packets int64
	Bytes   int64 // on the wire
	Middle  bool  // of TCP: its beginning was not seen
	Settled bool  // the decoders will tell no more
	State   any   // of the Handler

	key        key
	prev       *Flow // in the list by last packet
	next       *Flow
	packetsC2S int64
	packetsS2C int64
	tcp        *tcpState
	udp        *decode.Datagrams
}

// ProtoName returns tcp, udp, sctp or icmp.
func (f *Flow) ProtoName() string {
	switch f.Proto {
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoSCTP:
		return "sctp"
	}
	return "icmp"
}

// Directions returns the packets from client to server, and back.
func (f *Flow) Directions() (fromClient, fromServer int64) { return f.packetsC2S, f.packetsS2C }

// Handler learns of flows. Its methods run in the tracker's goroutine, one after the other.
type Handler interface {
	// Opened is called with the first packet of a flow, before its payload is looked at.
	Opened(f *Flow)
	// Learned is called when decoders found facts.
	Learned(f *Flow, facts []decode.Fact)
	// Settled is called once, when decoders will tell no more, or not before the flow ends.
	Settled(f *Flow)
	// Closed is called when the flow leaves the table, evicted when that is for lack of room.
	Closed(f *Flow, evicted bool)
}

// Limits bound what a Tracker keeps. Zero values take the defaults.
type Limits struct {
	Flows  int           // in the table; default 1<<17
	Stream int           // bytes kept of each direction of a TCP flow; default 16 KiB
	Budget int64         // packets with payload that decoders look at; default 48
	Idle   time.Duration // silence after which a flow ends; 0 keeps it until the end of the capture
	Memory int           // bytes of all beginnings that are kept at one time; default 64 MiB
}

func (l *Limits) setDefaults() {
	if l.Flows <= 0 {
		l.Flows = 1 << 17
	}
	if l.Stream <= 0 {
		l.Stream = 16 << 10
	}
	if l.Budget <= 0 {
		l.Budget = 48
	}
	if l.Memory <= 0 {
		l.Memory = 64 << 20
	}
}

// Counts are what a Tracker has seen.
type Counts struct {
	Packets int64 // of flows
	Bytes   int64
	Flows   int64
	Evicted int64 // flows that left early for lack of room
	Unread  int64 // flows whose beginnings were not kept for lack of room
}

// key is a five-tuple without direction: the lower endpoint first.
type key struct {
	a, b   [16]byte
	pa, pb uint16
	proto  uint8
	v6     bool
}

// Tracker is the flow table. It belongs to one goroutine.
type Tracker struct {
	limits  Limits
	handler Handler
	flows   map[key]*Flow
	list    Flow // its prev is the flow heard last, its next the one silent for longest
	counts  Counts
	held    int // bytes of beginnings

	fragments fragments
	watch     func(Stats)
}

// NewTracker returns an empty table that tells h about its flows.
func NewTracker(h Handler, limits Limits) *Tracker {
	limits.setDefaults()
	t := &Tracker{limits: limits, handler: h, flows: map[key]*Flow{}}
	t.list.prev, t.list.next = &t.list, &t.list
	return t
}

// Watch has f called with what the kernel counted so far, every ten seconds of Live. It must be called before.
func (t *Tracker) Watch(f func(Stats)) { t.watch = f }

// Counts returns what was seen so far.
func (t *Tracker) Counts() Counts { return t.counts }

// Len returns the number of flows in the table.
func (t *Tracker) Len() int { return len(t.flows) }

// Held returns the bytes that are held of flows whose decoders wait for more.
func (t *Tracker) Held() int { return t.held }

func makeKey(p *Packet) (k key, forward bool) {
	k.proto, k.v6 = p.Proto, p.V6
	forward = less(p.Src, p.Dst, p.SrcPort, p.DstPort)
	if forward {
		k.a, k.b, k.pa, k.pb = p.Src, p.Dst, p.SrcPort, p.DstPort
	} else {
		k.a, k.b, k.pa, k.pb = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	return k, forward
}

func less(a, b [16]byte, pa, pb uint16) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return pa < pb
}

// frame decodes a frame into p, whose time and length are set, and counts it.
func (t *Tracker) frame(link uint16, b []byte, p *Packet) {
	if p.decode(link, b) {
		t.Packet(p)
	}
	if p.part.is {
		t.fragment(p)
	}
}

// Packet counts p for its flow and lets the decoders see it.
func (t *Tracker) Packet(p *Packet) {
	k, _ := makeKey(p)
	f := t.flows[k]
	if f == nil {
		f = t.open(k, p)
	} else if t.list.prev != f {
		f.unlink()
		t.push(f)
	}
	f.Last = p.Time
	f.Packets++
	f.Bytes += int64(p.Length)
	t.counts.Packets++
	t.counts.Bytes += int64(p.Length)
	fromClient := f.fromClient(p)
	if fromClient {
		f.packetsC2S++
	} else {
		f.packetsS2C++
	}
	if !f.Settled {
		t.look(f, p, fromClient)
	}
	if t.limits.Idle > 0 {
		t.expire(p.Time)
	}
}

// fromClient reports whether p goes from f's client to its server.
func (f *Flow) fromClient(p *Packet) bool {
	if f.Client.Port() != f.Server.Port() {
		return p.SrcPort == f.Client.Port()
	}
	return address(p.Src, p.V6) == f.Client.Addr()
}

func (t *Tracker) open(k key, p *Packet) *Flow {
	if len(t.flows) >= t.limits.Flows {
		t.counts.Evicted++
		t.close(t.list.next, true)
	}
	src := netip.AddrPortFrom(address(p.Src, p.V6), p.SrcPort)
	dst := netip.AddrPortFrom(address(p.Dst, p.V6), p.DstPort)
	f := &Flow{Proto: p.Proto, Client: src, Server: dst, First: p.Time, key: k}
	if p.Proto == protoTCP {
		if p.Flags&(flagSYN|flagACK) == flagSYN|flagACK {
			f.Client, f.Server = dst, src
		}
		f.Middle = p.Flags&flagSYN == 0
	}
	t.flows[k] = f
	t.push(f)
	t.counts.Flows++
	t.handler.Opened(f)
	return f
}

// expire ends the flows that have been silent for too long; the list is in the order of their last packets.
func (t *Tracker) expire(now time.Time) {
	for range 2 { // at most two a packet: the table shrinks, and no packet waits
		f := t.list.next
		if f == &t.list || now.Sub(f.Last) < t.limits.Idle {
			return
		}
		t.close(f, false)
	}
}

// Flush ends every flow, the oldest first.
func (t *Tracker) Flush() {
	for t.list.next != &t.list {
		t.close(t.list.next, false)
	}
}

func (t *Tracker) close(f *Flow, evicted bool) {
	f.unlink()
	delete(t.flows, f.key)
	t.settle(f)
	t.handler.Closed(f, evicted)
}

// settle tells the handler that decoders will tell no more of f, and forgets what they needed.
func (t *Tracker) settle(f *Flow) {
	if f.Settled {
		return
	}
	t.forget(f)
	f.Settled = true
	t.handler.Settled(f)
}

func (t *Tracker) learn(f *Flow, facts []decode.Fact) {
	if len(facts) > 0 {
		t.handler.Learned(f, facts)
	}
}

// push makes f the flow heard last.
func (t *Tracker) push(f *Flow) {
	f.prev, f.next = t.list.prev, &t.list
	f.prev.next, t.list.prev = f, f
}

func (f *Flow) unlink() {
	f.prev.next, f.next.prev = f.next, f.prev
}

// Tick ends the flows that have been silent for too long, when no packet comes.
func (t *Tracker) Tick(now time.Time) {
	for t.limits.Idle > 0 {
		f := t.list.next
		if f == &t.list || now.Sub(f.Last) < t.limits.Idle {
			return
		}
		t.close(f, false)
	}
}
