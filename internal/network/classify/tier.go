package classify

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"strconv"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// tier is a bounded map of sockets: when it is full the older half is forgotten. Who is asked for is young again.
type tier struct{ young, old map[netip.AddrPort]*socket }

func newTier() tier { return tier{map[netip.AddrPort]*socket{}, map[netip.AddrPort]*socket{}} }

func (t *tier) find(a netip.AddrPort) *socket {
	if k := t.young[a]; k != nil || len(t.old) == 0 {
		return k
	}
	k := t.old[a]
	if k != nil {
		delete(t.old, a)
		t.put(a, k)
	}
	return k
}

func (t *tier) put(a netip.AddrPort, k *socket) {
	if len(t.young) >= maxSockets {
		t.old, t.young = t.young, map[netip.AddrPort]*socket{}
	}
	t.young[a] = k
}

func (t *tier) remove(a netip.AddrPort) {
	delete(t.young, a)
	delete(t.old, a)
}

// sighting is all that is known of a socket with one flow, of which only its first datagram's framing speaks: a flood has millions.
type sighting struct {
	flow *flow.Flow
	id   uint16
	fits bool
}

// maxSightings bounds the sightings. A later one takes the place of an earlier one by chance, so that a flood must be fast to hide a
// socket between two of its flows.
const maxSightings = 1 << 16

// sightings are found by a keyed hash of the socket; there is one place for each.
type sightings struct {
	seed   maphash.Seed
	places []sighting // made when the first one comes
}

func (s *sightings) at(a netip.AddrPort) *sighting {
	if s.places == nil {
		s.seed, s.places = maphash.MakeSeed(), make([]sighting, maxSightings)
	}
	var b [18]byte
	addr := a.Addr().As16()
	copy(b[:], addr[:])
	binary.BigEndian.PutUint16(b[16:], a.Port())
	return &s.places[maphash.Bytes(s.seed, b[:])%maxSightings]
}

// take returns the first flow of the socket, when it was seen and still lives, and forgets it.
func (s *sightings) take(a netip.AddrPort) (sighting, bool) {
	if s.places == nil {
		return sighting{}, false
	}
	place := s.at(a)
	first := *place
	if first.flow == nil || !first.flow.Has(a) {
		return sighting{}, false
	}
	*place = sighting{}
	return first, true
}

// other reports whether another flow of the socket was sighted.
func (s *sightings) other(a netip.AddrPort, f *flow.Flow) bool {
	first := s.at(a).flow
	return first != nil && first != f && first.Has(a)
}

// put notes the first flow of a socket.
func (s *sightings) put(a netip.AddrPort, f *flow.Flow, fact *decode.Fact) {
	id, err := strconv.ParseUint(fact.Get("id"), 10, 16)
	*s.at(a) = sighting{f, uint16(id), err == nil}
}

// forget is called when f ends: its memory is used again.
func (s *sightings) forget(a netip.AddrPort, f *flow.Flow) {
	if s.places == nil {
		return
	}
	if place := s.at(a); place.flow == f {
		*place = sighting{}
	}
}

// seen returns the socket for one more flow, or nil when it is the first and says nothing but that it could be classic Skype's.
func (s *sockets) seen(a netip.AddrPort, f *flow.Flow, fact *decode.Fact) *socket {
	if k := s.find(a); k != nil || fact.Decoder != candidateFact {
		return s.get(a)
	}
	if !s.first.other(a, f) {
		s.first.put(a, f, fact)
		return nil
	}
	return s.get(a)
}

// get returns the socket, and makes it when it is not known: with its first flow, when that was only sighted.
func (s *sockets) get(a netip.AddrPort) *socket {
	if k := s.find(a); k != nil {
		return k
	}
	k := &socket{lesson: untaught}
	if first, ok := s.first.take(a); ok {
		k.flows = append(k.flows, first.flow)
		switch {
		case first.flow.Client != flow.EndOf(a):
		case first.fits:
			k.peers, k.last = 1, first.id
		default:
			k.others = 1
		}
	}
	s.fresh.put(a, k)
	return k
}

func (s *sockets) find(a netip.AddrPort) *socket {
	if k := s.busy.find(a); k != nil {
		return k
	}
	return s.fresh.find(a)
}

// used moves a socket with several flows out of the reach of a flood of sockets that have one each.
func (s *sockets) used(a netip.AddrPort, k *socket) {
	if !k.busy && len(k.flows) > 1 {
		k.busy = true
		s.fresh.remove(a)
		s.busy.put(a, k)
	}
}
