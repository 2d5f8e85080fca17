package flow_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// segmentOf makes a decoded packet.
func segmentOf(proto uint8, from, to netip.AddrPort, at time.Time, payload []byte) *flow.Packet {
	return &flow.Packet{
		Time: at, Proto: proto, V6: from.Addr().Is6(), SrcPort: from.Port(), DstPort: to.Port(), Length: 54 + len(payload),
		Src: from.Addr().As16(), Dst: to.Addr().As16(), Payload: payload,
	}
}

// model is a flow.Handler that counts what each five-tuple had when it closed.
type model struct {
	counter
	packets map[string]int64
}

func (m *model) Closed(f *flow.Flow, _ bool) {
	m.packets[fmt.Sprint(f.Proto, f.Client, f.Server)] += f.Packets
}

// TestEveryPacketFindsItsFlow opens, uses and evicts flows at random, and compares with a plain map.
func TestEveryPacketFindsItsFlow(t *testing.T) {
	for _, room := range []int{1, 3, 100, 5000} {
		r := rand.New(rand.NewPCG(uint64(room), 1))
		m := &model{packets: map[string]int64{}}
		tracker := flow.NewTracker(m, flow.Limits{Flows: room, Idle: time.Second})
		want := map[string]int64{}
		now := start
		for range 40_000 {
			host := netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(40))})
			if r.IntN(4) == 0 {
				host = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(r.IntN(40))})
			}
			from := netip.AddrPortFrom(host, uint16(1000+r.IntN(50)))
			to := netip.AddrPortFrom(host.Next(), 9)
			proto := []uint8{6, 17, 132}[r.IntN(3)]
			now = now.Add(time.Duration(r.IntN(1000)) * time.Microsecond)
			tracker.Packet(segmentOf(proto, from, to, now, nil))
			want[fmt.Sprint(proto, from, to)]++
			if tracker.Len() > room {
				t.Fatalf("%d flows where there is room for %d", tracker.Len(), room)
			}
		}
		tracker.Flush()
		if tracker.Len() != 0 || len(m.packets) != len(want) {
			t.Errorf("room for %d: %d flows left; %d five-tuples, want %d", room, tracker.Len(), len(m.packets), len(want))
		}
		for k, n := range want {
			if m.packets[k] != n {
				t.Errorf("room for %d: %s had %d packets, want %d", room, k, m.packets[k], n)
			}
		}
	}
}

// TestFloodLeavesTheConfirmed: flows that were answered outlive a flood of such that nobody answers, and a new one lives long enough
// among the flood to be answered.
func TestFloodLeavesTheConfirmed(t *testing.T) {
	const room = 1000
	c := &collector{}
	tracker := flow.NewTracker(c, flow.Limits{Flows: room})
	spoofed := 0
	flood := func(n int) {
		for range n {
			spoofed++
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, byte(spoofed >> 16), byte(spoofed >> 8), byte(spoofed)}), 1)
			tracker.Packet(segmentOf(6, from, server, start, nil))
		}
	}
	flood(5 * room)
	for range 3 {
		tracker.Packet(segmentOf(6, client, server, start, nil))
		flood(room / 5)
		tracker.Packet(segmentOf(6, server, client, start, nil))
		flood(room / 5)
	}
	flood(50 * room)
	tracker.Packet(segmentOf(6, client, server, start, nil))
	for _, f := range c.closed {
		if f.Client.AddrPort() == client {
			t.Fatalf("it was evicted after %d packets", f.Packets)
		}
	}
	tracker.Flush()
	if counts := tracker.Counts(); counts.Flows != int64(spoofed)+1 || counts.Evicted != counts.Flows-room || len(c.closed) != spoofed+1 {
		t.Errorf("%+v, %d closed", counts, len(c.closed))
	}
}

// TestConfirmedDoNotTakeTheTable: who fills the table with answered flows does not keep a new flow from being answered.
func TestConfirmedDoNotTakeTheTable(t *testing.T) {
	const room = 1000
	c := &collector{}
	tracker := flow.NewTracker(c, flow.Limits{Flows: room})
	answered := func(n int) {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(n >> 8), byte(n)}), 1)
		for range 2 {
			tracker.Packet(segmentOf(17, from, server, start, nil))
			tracker.Packet(segmentOf(17, server, from, start, nil))
		}
	}
	for n := range 5 * room {
		answered(n)
	}
	tracker.Packet(segmentOf(17, client, server, start, nil))
	for n := range room / 5 {
		answered(5*room + n)
	}
	tracker.Packet(segmentOf(17, server, client, start, nil))
	for _, f := range c.closed {
		if f.Client.AddrPort() == client {
			t.Fatal("a new flow was evicted before its answer")
		}
	}
}

// TestSteadyPathAllocatesNothing: neither a flow whose decoders are done nor one that they still look at costs memory for a packet.
func TestSteadyPathAllocatesNothing(t *testing.T) {
	request := []byte("GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n")
	bulk, unknown := make([]byte, 1400), []byte("nothing that anybody knows")
	for _, c := range []struct {
		name  string
		proto uint8
		first []byte
		then  []byte
		done  bool
	}{
		{"a decided TCP flow", 6, request, bulk, true},
		{"a TCP flow that says nothing", 6, nil, nil, false},
		{"an undecided TCP flow, seen in one direction from its middle", 6, unknown, bulk, false},
		{"an undecided UDP flow", 17, unknown, unknown, false},
		{"a UDP flow whose budget is spent", 17, unknown, unknown, true},
	} {
		h := &settles{}
		limits := flow.Limits{Budget: 1 << 40, Idle: time.Minute}
		if c.done {
			limits.Budget = 1
		}
		tracker := flow.NewTracker(h, limits)
		p := segmentOf(c.proto, client, server, start, c.first)
		tracker.Packet(p)
		p.Payload = c.then
		for range 64 { // the beginning that is kept is full
			p.Seq += uint32(len(p.Payload))
			tracker.Packet(p)
		}
		if allocs := testing.AllocsPerRun(1000, func() {
			p.Seq += uint32(len(p.Payload))
			p.Time = p.Time.Add(time.Millisecond)
			tracker.Packet(p)
		}); allocs != 0 {
			t.Errorf("%s: %v allocations a packet", c.name, allocs)
		}
		if h.settled > 0 != c.done {
			t.Errorf("%s: settled %v", c.name, h.settled > 0)
		}
	}
}

type settles struct {
	counter
	settled int
}

func (s *settles) Settled(*flow.Flow) { s.settled++ }

// TestPressureGivesUpTheOldest: flows that begin a hello and never end it do not keep the decoders from one that ends its own.
func TestPressureGivesUpTheOldest(t *testing.T) {
	h := &learner{}
	tracker := flow.NewTracker(h, flow.Limits{Memory: 1 << 20})
	unfinished := func(n int) {
		hello := append([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3}, make([]byte, 1000)...)
		tracker.Packet(segmentOf(6, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 1000), server, start, hello))
	}
	for n := range 5000 {
		unfinished(n)
	}
	request := []byte("GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n")
	first, rest := segmentOf(6, client, server, start, request[:10]), segmentOf(6, client, server, start, request[10:])
	rest.Seq = 10
	tracker.Packet(first)
	for n := range 300 {
		unfinished(5000 + n)
	}
	tracker.Packet(rest)
	if len(h.names) != 1 || h.names[0] != "web.example.org" {
		t.Errorf("learned %v", h.names)
	}
	if tracker.Held() > 1<<20 || tracker.Counts().Unread == 0 {
		t.Errorf("%d bytes held, %+v", tracker.Held(), tracker.Counts())
	}
	tracker.Flush()
	if tracker.Held() != 0 {
		t.Errorf("%d bytes held at the end", tracker.Held())
	}
}

type learner struct {
	counter
	names []string
}

func (l *learner) Learned(_ *flow.Flow, facts []decode.Fact) {
	for _, f := range facts {
		l.names = append(l.names, f.Get("name"))
	}
}

// BenchmarkPacket measures a packet of a flow whose decoders are done, and of flows that they still look at.
func BenchmarkPacket(b *testing.B) {
	unknown := []byte("nothing that anybody knows")
	for _, c := range []struct {
		name   string
		proto  uint8
		first  []byte
		budget int64
	}{
		{"decided", 6, []byte("GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n"), 48},
		{"undecided", 17, unknown, 1 << 60},
	} {
		b.Run(c.name, func(b *testing.B) {
			tracker := flow.NewTracker(&counter{}, flow.Limits{Budget: c.budget, Idle: time.Minute})
			p := segmentOf(c.proto, client, server, start, c.first)
			tracker.Packet(p)
			p.Payload = unknown
			b.ReportAllocs()
			for b.Loop() {
				tracker.Packet(p)
			}
		})
	}
}
