package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// stops stops messengers and a million names.
type stops struct{ names map[string]bool }

func (s stops) Decide(in *policy.Input) event.Verdict {
	if in.Event.Question.App != "" || s.names[in.Event.Question.Name] {
		return event.Verdict{Action: event.Block, Rule: "r", Say: "No.", Enforced: true}
	}
	return event.Verdict{Action: event.Allow, Rule: policy.OtherwiseRule, Enforced: true}
}

type nowhere struct{}

func (nowhere) Record(context.Context, ...*event.Event) error { return nil }

func direct(t testing.TB, names int) *Resolver {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	s := stops{map[string]bool{}}
	for i := range names {
		s.names[fmt.Sprintf("host-%d.blocked.example", i)] = true
	}
	r, err := New(Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{"127.0.0.1:1"}, RatePerClient: -1, InFlight: 1 << 20},
		Deps{Decider: s, Catalog: c, Recorder: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// FuzzPacket gives the handler any bytes, as a question and as an upstream's answer: it must not panic, and must answer with what unpacks.
func FuzzPacket(f *testing.F) {
	r := direct(f, 0)
	m := new(wire.Msg).SetQuestion("web.telegram.org.", wire.TypeHTTPS)
	m.SetEdns0(4096, true)
	seed, _ := m.Pack()
	f.Add(seed)
	m.SetQuestion("www.example.", wire.TypeA)
	cname, _ := wire.NewRR("www.example. 60 IN CNAME x.example.")
	m.Answer, m.Response = []wire.RR{cname}, true
	seed, _ = m.Pack()
	f.Add(seed)
	f.Add([]byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	client := netip.MustParseAddr("192.0.2.7")
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, q := r.begin(b, client)
		switch {
		case reply != nil:
			check(t, r, reply, q, b)
		case q != nil:
			check(t, r, q.failure(wire.ExtendedErrorCodeOther, string(b)), q, b)
			r.release()
		}
		answer := new(wire.Msg)
		if answer.Unpack(b) == nil {
			asked, _ := parse(seed, client)
			if asked == nil {
				asked, _ = parse(questionBytes("www.example."), client)
			}
			asked.event = r.judge(asked, asked.name, "")
			if reply := r.settle(asked, &stored{msg: answer, at: r.dep.Clock.Now()}); reply != nil {
				r.pack(reply, asked.size(), nil)
			}
		}
	})
}

func questionBytes(name string) []byte {
	b, _ := new(wire.Msg).SetQuestion(name, wire.TypeA).Pack()
	return b
}

func check(t *testing.T, r *Resolver, reply *wire.Msg, q *query, packet []byte) {
	t.Helper()
	packed := r.pack(reply, q.size(), nil)
	if packed == nil {
		t.Fatalf("%x has an answer that cannot be packed", packet)
	}
	if err := new(wire.Msg).Unpack(packed); err != nil {
		t.Errorf("%x has an answer that cannot be read: %v", packet, err)
	}
	if len(packed) > ednsSize || binary.BigEndian.Uint16(packed) != binary.BigEndian.Uint16(packet) {
		t.Errorf("%x is answered by %x", packet, packed)
	}
}

func TestClip(t *testing.T) {
	long := ""
	for range 200 {
		long += "é"
	}
	for in, want := range map[string]string{"a\n\tb": "a b", "\xff\xfea": "a", "": "", long: long[:maxSay]} {
		if got := clip(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

func benchmarkBegin(b *testing.B, names int, name string) {
	r := direct(b, names)
	r.keeper.queue = make(chan *event.Event) // full at once: what is measured is the answer
	m := new(wire.Msg).SetQuestion(name, wire.TypeA)
	m.SetEdns0(1232, false)
	packet, _ := m.Pack()
	client, out := netip.MustParseAddr("192.0.2.7"), make([]byte, maxQuery)
	b.ReportAllocs()
	for b.Loop() {
		reply, q := r.begin(packet, client)
		if reply == nil || r.pack(reply, q.size(), out) == nil {
			b.Fatal("no answer")
		}
	}
}

func BenchmarkStoppedMessenger(b *testing.B) { benchmarkBegin(b, 0, "web.telegram.org.") }

func BenchmarkStoppedOfMillion(b *testing.B) {
	benchmarkBegin(b, 1_000_000, "host-777777.blocked.example.")
}

func BenchmarkCached(b *testing.B) {
	r := direct(b, 0)
	m := new(wire.Msg).SetQuestion("www.example.", wire.TypeA)
	m.SetEdns0(1232, false)
	packet, _ := m.Pack()
	client, out := netip.MustParseAddr("192.0.2.7"), make([]byte, maxQuery)
	q, _ := parse(packet, client)
	rr, _ := wire.NewRR("www.example. 3600 IN A 192.0.2.1")
	answer := new(wire.Msg).SetReply(m)
	answer.Answer = []wire.RR{rr}
	r.cache.put(q.key, &stored{msg: answer, at: r.dep.Clock.Now()})
	b.ReportAllocs()
	for b.Loop() {
		reply, q := r.begin(packet, client)
		if reply == nil || r.pack(reply, q.size(), out) == nil {
			b.Fatal("no answer")
		}
	}
}
