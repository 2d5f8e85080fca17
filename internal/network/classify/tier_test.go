package classify

import (
	"net/netip"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

func socketAt(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1000)
}

// TestTierForgetsWhoIsNotAskedFor: it holds at most two halves, and who is asked for stays.
func TestTierForgetsWhoIsNotAskedFor(t *testing.T) {
	tier := newTier()
	asked := &socket{}
	tier.put(socketAt(0), asked)
	for n := 1; n <= 5*maxSockets; n++ {
		tier.put(socketAt(n), &socket{})
		if n%1000 == 0 && tier.find(socketAt(0)) != asked {
			t.Fatalf("it was forgotten after %d", n)
		}
	}
	if len(tier.young)+len(tier.old) > 2*maxSockets || tier.find(socketAt(1)) != nil {
		t.Errorf("%d and %d are kept", len(tier.young), len(tier.old))
	}
	if tier.remove(socketAt(0)); tier.find(socketAt(0)) != nil {
		t.Error("it was not removed")
	}
}

// TestSecondFlowMakesASocket: the first flow that only could be classic Skype's makes none; the second makes one that knows the first, its
// object id too, unless that has ended.
func TestSecondFlowMakesASocket(t *testing.T) {
	candidateOf := func(id string) *decode.Fact {
		return &decode.Fact{Decoder: candidateFact, Attrs: []decode.Attr{{Key: "id", Value: id}}}
	}
	for _, ended := range []bool{false, true} {
		var s sockets
		s.init()
		end := socketAt(1)
		one, two := &flow.Flow{Proto: 17, Client: flow.EndOf(end), Server: flow.EndOf(socketAt(2))}, &flow.Flow{Proto: 17, Client: flow.EndOf(end), Server: flow.EndOf(socketAt(3))}
		first := s.seen(end, one, candidateOf("7"))
		again := s.seen(end, one, candidateOf("7"))
		if first != nil || again != nil || s.find(end) != nil {
			t.Fatal("one flow made a socket")
		}
		if ended {
			s.forget(one)
		}
		k := s.seen(end, two, candidateOf("9"))
		if ended != (k == nil) {
			t.Fatalf("ended %v: %+v", ended, k)
		}
		if k == nil {
			continue
		}
		if len(k.flows) != 1 || k.flows[0] != one || k.peers != 1 || k.last != 7 {
			t.Errorf("%+v", k)
		}
		k.flows = append(k.flows, two)
		if s.used(end, k); !k.busy || s.busy.find(end) != k || s.fresh.find(end) != nil || s.find(end) != k {
			t.Error("a socket with two flows is still among those with one")
		}
	}
}
