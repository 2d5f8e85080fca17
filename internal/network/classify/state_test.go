package classify

import (
	"net/netip"
	"strconv"
	"testing"
	"unsafe"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// TestSharedIsBounded: what is shared is one copy, a flood of other values takes bounded room, and what was given stays.
func TestSharedIsBounded(t *testing.T) {
	s := newShared[said]()
	one := s.get(said{decoder: "tls", ja4: "t13d"})
	if s.get(said{decoder: "tls", ja4: "t13d"}) != one {
		t.Error("the same is not shared")
	}
	for i := range 10 * maxShared {
		s.get(said{decoder: "tls", ja4: strconv.Itoa(i)})
	}
	if n := len(s.copies); n > maxShared {
		t.Errorf("%d copies are kept", n)
	}
	if *one != (said{decoder: "tls", ja4: "t13d"}) {
		t.Errorf("it became %v", *one)
	}
}

// TestStatesAreSmall: what a flow without a messenger costs is a few words, and nobody writes to what all begin with.
func TestStatesAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(state{}); size > 40 {
		t.Errorf("a state takes %d bytes", size)
	}
	if unnamed.app != "" || len(unnamed.evidence) > 0 || unnamed.rank != rankNone || *silent != (said{}) || *likeAnother != (said{decoder: candidateFact}) {
		t.Errorf("%v, %v, %v", *unnamed, *silent, *likeAnother)
	}
}

// TestSocketsAreSmall: sixteen thousand are kept of those with one flow, and as many of the others.
func TestSocketsAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(socket{}); size > 80 {
		t.Errorf("a socket takes %d bytes", size)
	}
	if *untaught != (lesson{}) {
		t.Errorf("%v", *untaught)
	}
}

// TestVerdictsAreShared: flows of which the same fact is known have one verdict, what is learned of one of them changes no other, and a flood
// of different verdicts takes bounded room.
func TestVerdictsAreShared(t *testing.T) {
	k := New(pigeons{}, Options{})
	one := event.Evidence{Fact: "tls name", Value: "pigeon.example", Strength: event.High}
	flows := []*flow.Flow{{Packets: 4}, {Packets: 4}, {Packets: 4}}
	for _, f := range flows {
		s := k.stateOf(f)
		s.claim(f, rankName, "pigeon", "chat", one)
		k.note(f, s)
	}
	a, b := k.stateOf(flows[0]), k.stateOf(flows[1])
	if a.verdict != b.verdict {
		t.Error("the same verdict is kept twice")
	}
	a.claim(flows[0], rankName, "pigeon", "chat", one)
	if a.verdict != b.verdict {
		t.Error("a fact that is known already made a copy")
	}
	a.claim(flows[0], rankName, "pigeon", "call", event.Evidence{Fact: "traffic:pigeon", Value: "coo", Strength: event.Exact})
	if a.service != "call" || len(a.evidence) != 2 || b.service != "chat" || len(b.evidence) != 1 || k.stateOf(flows[2]).confidence != event.High {
		t.Errorf("one is %+v, another %+v", *a.verdict, *b.verdict)
	}
	for i := range 10 * maxShared {
		f := &flow.Flow{Packets: int64(i)}
		s := k.stateOf(f)
		s.claim(f, rankName, "pigeon", "", one)
		k.note(f, s)
		k.release(f)
	}
	if n := len(k.verdicts); n > maxShared {
		t.Errorf("%d verdicts are kept", n)
	}
	if n := len(k.states.chunks); n != 1 {
		t.Errorf("%d chunks of states for four at a time", n)
	}
}

type pigeons struct{}

func (pigeons) ByName(string) []catalog.Match        { return nil }
func (pigeons) ByAddress(netip.Addr) []catalog.Match { return nil }
func (pigeons) Traffic() []catalog.TrafficSignature  { return nil }

// TestAnswersHaveKeysOfTheirOwn: which address is the client's matters, as does whether there is one, and what kind they are.
func TestAnswersHaveKeysOfTheirOwn(t *testing.T) {
	var m memory
	m.init()
	seen := map[uint64]pair{}
	addrs := []netip.Addr{{}, netip.MustParseAddr("::"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::ffff:0.0.0.0"),
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}
	for _, a := range addrs {
		for _, b := range addrs {
			p := pair{a, b}
			if other, ok := seen[m.key(p)]; ok {
				t.Errorf("%v and %v have one key", p, other)
			}
			if seen[m.key(p)] = p; m.key(p) != m.key(pair{a, b}) {
				t.Errorf("%v has two keys", p)
			}
		}
	}
}
