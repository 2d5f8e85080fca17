package flow

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// table finds flows by five-tuple, whichever way a packet goes. Flows lie in slabs, which have no pointers in them, and are used again; the
// places of the hash table say by the hash which flow it may be, so that a look-up touches few other flows. The hash is keyed: nobody can
// choose five-tuples that collide.
type table struct {
	keys   [4]uint64
	places []place // a power of two, linear probing, at most five sixths full
	slabs  [][]Flow
	free   uint32 // by next
	used   int
}

// place is one place of the hash table: the hash, and the number of a flow.
type place struct{ hash, flow uint32 }

const (
	minPlaces = 1 << 10
	slabFlows = 256 // 32 KiB
)

func newTable() table {
	var seed [32]byte
	rand.Read(seed[:]) // never fails (crypto/rand)
	t := table{places: make([]place, minPlaces)}
	for i := range t.keys {
		t.keys[i] = binary.LittleEndian.Uint64(seed[8*i:])
	}
	return t
}

// fold multiplies to 128 bits and adds the halves without carry.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// hash is the same for both directions.
func (t *table) hash(p *Packet) uint32 {
	end := func(a *[16]byte, port uint16) uint64 {
		h := fold(binary.BigEndian.Uint64(a[:])^t.keys[0], binary.BigEndian.Uint64(a[8:])^t.keys[1])
		return fold(h^uint64(port), t.keys[2])
	}
	kind := uint64(p.Proto)
	if p.V6 {
		kind |= 1 << 8
	}
	return uint32(fold(end(&p.Src, p.SrcPort)+end(&p.Dst, p.DstPort), t.keys[3]^kind<<32))
}

func (t *table) at(n uint32) *Flow { return &t.slabs[(n-1)/slabFlows][(n-1)%slabFlows] }

// numbered returns the flow of the number, or nil for 0.
func (t *table) numbered(n uint32) *Flow {
	if n == 0 {
		return nil
	}
	return t.at(n)
}

// find returns the flow between two ends, or nil, and whether the packet goes from its client to its server.
func (t *table) find(hash uint32, proto uint8, src, dst *End) (f *Flow, fromClient bool) {
	mask := uint32(len(t.places) - 1)
	for i := hash & mask; t.places[i].flow != 0; i = (i + 1) & mask {
		if t.places[i].hash != hash {
			continue
		}
		f := t.at(t.places[i].flow)
		if f.Proto != proto {
			continue
		}
		if f.Client == *src && f.Server == *dst {
			return f, true
		}
		if f.Client == *dst && f.Server == *src {
			return f, false
		}
	}
	return nil, false
}

// add returns an empty flow that put has to place.
func (t *table) add(hash uint32) *Flow {
	if 6*(t.used+1) > 5*len(t.places) {
		t.grow()
	}
	if t.free == 0 {
		t.slab()
	}
	f := t.at(t.free)
	t.free, f.next = f.next, 0
	f.hash = hash
	t.used++
	return f
}

func (t *table) put(f *Flow) {
	t.place(place{f.hash, f.number})
}

func (t *table) place(p place) {
	mask := uint32(len(t.places) - 1)
	i := p.hash & mask
	for t.places[i].flow != 0 {
		i = (i + 1) & mask
	}
	t.places[i] = p
}

func (t *table) slab() {
	slab := make([]Flow, slabFlows)
	first := uint32(len(t.slabs)*slabFlows) + 1
	t.slabs = append(t.slabs, slab)
	for i := len(slab) - 1; i >= 0; i-- {
		slab[i].number, slab[i].next = first+uint32(i), t.free
		t.free = slab[i].number
	}
}

// grow doubles the places.
func (t *table) grow() {
	old := t.places
	t.places = make([]place, 2*len(old))
	for _, p := range old {
		if p.flow != 0 {
			t.place(p)
		}
	}
}

// remove takes f out, and closes the gap (Knuth, volume 3, section 6.4, algorithm R).
func (t *table) remove(f *Flow) {
	mask := uint32(len(t.places) - 1)
	i := f.hash & mask
	for t.places[i].flow != f.number {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; t.places[j].flow != 0; j = (j + 1) & mask {
		home := t.places[j].hash & mask
		if (j-home)&mask >= (j-i)&mask {
			t.places[i], i = t.places[j], j
		}
	}
	t.places[i] = place{}
	t.used--
}

// release lets f be used again.
func (t *table) release(f *Flow) {
	*f = Flow{number: f.number, next: t.free}
	t.free = f.number
}
