package flow

import (
	"bufio"
	"math"
	"net/netip"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// Flow is one flow: who speaks with whom, how much, and what the decoders found. It is good until Closed returns: its memory is used again.
type Flow struct {
	Client  End
	Server  End
	Last    Moment // of its last packet
	Packets int64
	Bytes   int64  // on the wire
	State   uint32 // of the Handler; 0 at first
	Proto   uint8  // IP protocol number: 1, 6, 17 or 132
	Middle  bool   // of TCP: its beginning was not seen
	Settled bool   // the decoders will tell no more

	// A hundred thousand of these are kept: what can be small is, and nothing is a pointer.
	confirmed  bool // see lists
	began      [2]bool
	hash       uint32
	number     uint32    // in the table
	prev, next uint32    // in its list
	mark       uint32    // packets when it was placed there, of which the low bits are enough
	settledAt  uint32    // packets
	looked     uint32    // the number of what decoders keep of it, by its protocol; 0 for nothing
	isn        [2]uint32 // of TCP: where the client's and the server's bytes begin, where began says so
	first      Moment
	packetsC2S int64
}

// First is the time of the flow's first packet.
func (f *Flow) First() time.Time { return f.first.Time() }

// Ends returns the client and the server.
func (f *Flow) Ends() [2]netip.AddrPort {
	return [2]netip.AddrPort{f.Client.AddrPort(), f.Server.AddrPort()}
}

// Has reports whether a is an end of the flow.
func (f *Flow) Has(a netip.AddrPort) bool {
	end := EndOf(a)
	return f.Client == end || f.Server == end
}

// SettledAt returns how many packets there were when the decoders had told all.
func (f *Flow) SettledAt() int64 { return int64(f.settledAt) }

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
func (f *Flow) Directions() (fromClient, fromServer int64) {
	return f.packetsC2S, f.Packets - f.packetsC2S
}

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
	Memory int           // bytes that are kept at one time for decoders that wait for more; default 12 MiB
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
		l.Memory = 12 << 20
	}
}

// Counts are what a Tracker has seen.
type Counts struct {
	Packets int64 // of flows
	Bytes   int64
	Flows   int64
	Evicted int64 // flows that left early for lack of room
	Unread  int64 // flows that decoders had to give up for lack of room
	Cut     int64 // packets of which the capture holds the beginning only
}

// Tracker is the flow table. It belongs to one goroutine, and reads one capture or interface after the other.
type Tracker struct {
	limits  Limits
	handler Handler
	table   table
	lists   lists
	sweep   sweep
	counts  Counts

	held     int // bytes that are kept for decoders
	waiting  [2]waitList
	buffers  buffers
	segments decode.Segments
	datagram decode.Datagram
	tcp      numbered[tcpState]
	udp      numbered[udpState]
	streams  spares[stream]

	fragments fragments
	reader    *bufio.Reader
	watch     func(Stats)
}

// NewTracker returns an empty table that tells h about its flows.
func NewTracker(h Handler, limits Limits) *Tracker {
	limits.setDefaults()
	t := &Tracker{limits: limits, handler: h, table: newTable()}
	t.lists.init(&t.table)
	return t
}

// Watch has f called with what the kernel counted so far, every ten seconds of Live. It must be called before.
func (t *Tracker) Watch(f func(Stats)) { t.watch = f }

// Counts returns what was seen so far.
func (t *Tracker) Counts() Counts { return t.counts }

// Len returns the number of flows in the table.
func (t *Tracker) Len() int { return t.table.used }

// Held returns the bytes that are held of flows whose decoders wait for more.
func (t *Tracker) Held() int { return t.held }

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
	hash := t.table.hash(p)
	src, dst := p.ends()
	f, fromClient := t.table.find(hash, p.Proto, &src, &dst)
	if f == nil {
		f, fromClient = t.open(hash, p, src, dst)
	}
	f.Last = MomentOf(p.Time)
	f.Packets++
	f.Bytes += int64(p.Length)
	t.counts.Packets++
	t.counts.Bytes += int64(p.Length)
	if p.Cut {
		t.counts.Cut++
	}
	if fromClient {
		f.packetsC2S++
	}
	if !f.confirmed && f.answered() {
		t.confirm(f)
	}
	if !f.Settled {
		t.look(f, p, fromClient)
	}
	if t.limits.Idle > 0 {
		t.expire(p.Time, sweepBatch)
	}
}

func (t *Tracker) open(hash uint32, p *Packet, src, dst End) (f *Flow, fromClient bool) {
	if t.table.used >= t.limits.Flows {
		t.counts.Evicted++
		t.close(t.lists.victim(t.limits.Flows), true)
	}
	f = t.table.add(hash)
	f.Proto, f.Client, f.Server, f.first, fromClient = p.Proto, src, dst, MomentOf(p.Time), true
	if p.Proto == protoTCP {
		if p.Flags&(flagSYN|flagACK) == flagSYN|flagACK {
			f.Client, f.Server, fromClient = dst, src, false
		}
		f.Middle = p.Flags&flagSYN == 0
	}
	t.table.put(f)
	t.lists.fresh.push(f)
	f.mark = 1 // the packet that opens it is about to be counted, and gives it no second turn
	t.counts.Flows++
	t.handler.Opened(f)
	return f, fromClient
}

// Flush ends every flow, about in the order of their first packets. Before the first one closes all have settled: what one teaches the
// others may know.
func (t *Tracker) Flush() {
	for _, o := range []*order{&t.lists.fresh, &t.lists.confirmed} {
		for f := o.front(); f != nil; f = o.after(f) {
			t.settle(f)
		}
	}
	for {
		f, g := t.lists.fresh.front(), t.lists.confirmed.front()
		if f == nil || g != nil && g.first < f.first {
			f = g
		}
		if f == nil {
			break
		}
		t.close(f, false)
	}
	t.sweep = sweep{}
}

func (t *Tracker) close(f *Flow, evicted bool) {
	t.lists.of(f).remove(f)
	t.table.remove(f)
	t.settle(f)
	t.handler.Closed(f, evicted)
	t.table.release(f)
}

// settle tells the handler that decoders will tell no more of f, and forgets what they needed.
func (t *Tracker) settle(f *Flow) {
	if f.Settled {
		return
	}
	t.last(f)
	t.forget(f)
	f.Settled, f.settledAt = true, uint32(min(f.Packets, math.MaxUint32))
	t.handler.Settled(f)
}

func (t *Tracker) learn(f *Flow, facts []decode.Fact) {
	if len(facts) > 0 {
		t.handler.Learned(f, facts)
	}
}

// Tick ends the flows that have been silent for too long, when no packet comes.
func (t *Tracker) Tick(now time.Time) {
	if t.limits.Idle > 0 {
		t.expire(now, t.table.used)
	}
}
