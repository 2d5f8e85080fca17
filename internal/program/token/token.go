// Package token finds many short texts in one pass over many bytes.
//
// Only every fourth byte is looked at (fewer where all tokens are long): four bytes from there are a gram, and each token has, at one of its
// first places, a gram that begins at such a byte. A filter of bits that fits the processor's first cache says of nearly every gram that it is in no
// token. Tokens are looked for as they are and as UTF-16LE, as Windows programs hold them.
package token

import "encoding/binary"

// MinLength is the shortest token that is looked for: shorter ones would be found everywhere.
const MinLength = 6

const (
	gram       = 4 // bytes
	maxStride  = 8
	filterBits = 18 // 32 KiB
)

// Set is a set of tokens, ready to be searched for. It is safe for concurrent use.
type Set struct {
	stride int                            // from one byte that is looked at to the next
	filter *[1 << (filterBits - 6)]uint64 // by the hash of a gram: whether a token may have it
	places map[uint32][]place             // by gram
	count  int
}

// place is where in a text a gram stands.
type place struct {
	text   string
	index  int // of the token
	before int // bytes of the text before the gram
}

// New returns a set of tokens. Those shorter than MinLength are never found.
func New(tokens []string) *Set {
	s := &Set{filter: new([1 << (filterBits - 6)]uint64), places: map[uint32][]place{}, count: len(tokens)}
	shortest := maxStride + gram - 1
	for _, t := range tokens {
		for _, text := range []string{t, wide(t)} {
			if len(text) >= MinLength {
				shortest = min(shortest, len(text))
			}
		}
	}
	s.stride = shortest - gram + 1
	for i, t := range tokens {
		s.add(t, i)
		s.add(wide(t), i)
	}
	return s
}

// add adds the grams of which one begins at a byte that is looked at, wherever the text stands.
func (s *Set) add(text string, index int) {
	if len(text) < MinLength {
		return
	}
	for before := range s.stride {
		g := binary.LittleEndian.Uint32([]byte(text[before : before+gram]))
		h := hash(g)
		s.filter[h>>6] |= 1 << (h & 63)
		s.places[g] = append(s.places[g], place{text, index, before})
	}
}

func hash(g uint32) uint32 { return g * 0x9e3779b1 >> (32 - filterBits) }

func wide(t string) string {
	b := make([]byte, 0, 2*len(t))
	for _, r := range t {
		if r > 0xffff {
			return ""
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(r))
	}
	return string(b)
}

// Search marks in found, which has a place for each token, those that begin in data[:limit] and lie wholly in data.
func (s *Set) Search(data []byte, limit int, found []bool) {
	if len(s.places) == 0 {
		return
	}
	filter, stride := s.filter, s.stride
	last := min(len(data)-gram, limit-1+stride-1)
	for at := 0; at <= last; at += stride {
		g := binary.LittleEndian.Uint32(data[at:])
		h := hash(g)
		if filter[h>>6]&(1<<(h&63)) != 0 {
			s.check(data, at, limit, g, found)
		}
	}
}

// check marks the tokens that have a gram at that place and are there.
func (s *Set) check(data []byte, at, limit int, g uint32, found []bool) {
	for _, p := range s.places[g] {
		begin := at - p.before
		if begin >= 0 && begin < limit && len(data)-begin >= len(p.text) && string(data[begin:begin+len(p.text)]) == p.text {
			found[p.index] = true
		}
	}
}

// Find returns the indices of the tokens in data.
func (s *Set) Find(data []byte) []int {
	found := make([]bool, s.count)
	s.Search(data, len(data), found)
	return Indices(found)
}

// Count returns how many tokens the set was made of.
func (s *Set) Count() int { return s.count }

// Indices returns the places that are marked.
func Indices(found []bool) []int {
	var out []int
	for i, f := range found {
		if f {
			out = append(out, i)
		}
	}
	return out
}
