// Package token finds many short texts in one pass over many bytes.
//
// It is Wu and Manber's algorithm: a table says, for the last two bytes of a window as long as the shortest token, how far the window may
// jump; most jumps are the whole window. Tokens are looked for as they are and as UTF-16LE, as Windows programs hold them.
package token

import "encoding/binary"

// MinLength is the shortest token that is looked for: shorter ones would be found everywhere.
const MinLength = 6

// maxWindow bounds the window, and with it the jumps.
const maxWindow = 32

// Set is a set of tokens, ready to be searched for. It is safe for concurrent use.
type Set struct {
	window   int                         // length of the shortest token, within bounds
	shift    *[1 << 16]uint8             // by the last two bytes of the window
	patterns map[[MinLength]byte][]entry // by the first bytes
	count    int
}

type entry struct {
	text  string
	index int
}

// New returns a set of tokens. Those shorter than MinLength are never found.
func New(tokens []string) *Set {
	s := &Set{window: maxWindow, shift: new([1 << 16]uint8), patterns: map[[MinLength]byte][]entry{}, count: len(tokens)}
	for _, t := range tokens {
		for _, text := range []string{t, wide(t)} {
			if len(text) >= MinLength {
				s.window = min(s.window, len(text))
			}
		}
	}
	for i := range s.shift {
		s.shift[i] = uint8(s.window - 1)
	}
	for i, t := range tokens {
		s.add(t, i)
		s.add(wide(t), i)
	}
	return s
}

func (s *Set) add(text string, index int) {
	if len(text) < s.window {
		return
	}
	key := [MinLength]byte([]byte(text[:MinLength]))
	s.patterns[key] = append(s.patterns[key], entry{text, index})
	for end := 2; end <= s.window; end++ {
		pair := uint16(text[end-2]) | uint16(text[end-1])<<8
		s.shift[pair] = min(s.shift[pair], uint8(s.window-end))
	}
}

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
	if len(s.patterns) == 0 {
		return
	}
	shift, window := s.shift, s.window
	for end := window; end <= len(data); {
		jump := shift[uint16(data[end-2])|uint16(data[end-1])<<8]
		if jump > 0 {
			end += int(jump)
			continue
		}
		begin := end - window
		if begin >= limit {
			return
		}
		for _, e := range s.patterns[[MinLength]byte(data[begin:begin+MinLength])] {
			if len(data)-begin >= len(e.text) && string(data[begin:begin+len(e.text)]) == e.text {
				found[e.index] = true
			}
		}
		end++
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
