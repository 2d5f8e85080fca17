package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strconv"
)

// maxInput bounds what grows by doubling.
const maxInput = 256 << 10

// field is a place in a seed that looks like a length, a count or an offset: a number that leads into the seed, or digits.
type field struct {
	at, size int // size 0: digits
	big      bool
	end      int // of digits
}

// seed is one real file and where its numbers are.
type seed struct {
	data   []byte
	fields []field
}

const maxFields = 2000

// newSeed finds the numbers of a file.
func newSeed(data []byte) seed {
	s := seed{data: data}
	for _, size := range []int{8, 4, 2} {
		for at := 0; at+size <= len(data) && len(s.fields) < maxFields; at += 2 {
			for _, big := range []bool{false, true} {
				if v := number(data[at:at+size], big); v > 3 && v <= uint64(len(data)) {
					s.fields = append(s.fields, field{at: at, size: size, big: big})
				}
			}
		}
	}
	for at := 0; at < len(data); at++ {
		end := at
		for end < len(data) && data[end] >= '0' && data[end] <= '9' {
			end++
		}
		if end > at && len(s.fields) < 2*maxFields {
			s.fields = append(s.fields, field{at: at, end: end})
		}
		at = max(at, end)
	}
	return s
}

func number(b []byte, big bool) uint64 {
	b = slices.Clone(b)
	if big {
		slices.Reverse(b)
	}
	return binary.LittleEndian.Uint64(append(b, make([]byte, 8)...))
}

func putNumber(b []byte, big bool, v uint64) {
	n := binary.LittleEndian.AppendUint64(nil, v)[:len(b)]
	if big {
		slices.Reverse(n)
	}
	copy(b, n)
}

// mutator makes one input after another; the same seeds, seed number and index always give the same input.
type mutator struct {
	seeds  []seed
	number uint64
	mender
}

// input makes input number index.
func (m *mutator) input(index uint64) []byte {
	r := rand.New(rand.NewPCG(m.number, index))
	s := &m.seeds[r.IntN(len(m.seeds))]
	b := slices.Clone(s.data)
	for range 1 + r.IntN(1+r.IntN(8)) {
		b = m.change(r, s, b)
	}
	if r.IntN(8) != 0 {
		m.mend(b, 0)
	}
	return b
}

// change makes one change.
func (m *mutator) change(r *rand.Rand, s *seed, b []byte) []byte {
	if len(b) < 8 {
		return append(b, byte(r.Uint32()), byte(r.Uint32()))
	}
	at := place(r, s, len(b))
	n := min(stretch(r), len(b)-at)
	switch r.IntN(16) {
	case 0, 1:
		b[at] ^= byte(1 << r.IntN(8))
	case 2:
		b[at] = byte(r.Uint32())
	case 3:
		b[at] = []byte{0, 1, 0x7f, 0x80, 0xff, ' ', '/', '0'}[r.IntN(8)]
	case 4, 5, 6:
		return m.renumber(r, s, b)
	case 7, 8:
		size := min([]int{1, 2, 4, 8}[r.IntN(4)], len(b)-at)
		at &^= size - 1
		big := r.IntN(2) == 0
		putNumber(b[at:at+size], big, interesting(r, number(b[at:at+size], big), len(b), at))
	case 9: // a stretch over another
		copy(b[at:at+n], b[r.IntN(len(b)):])
	case 10:
		return slices.Delete(b, at, at+n)
	case 11: // doubled
		return grow(b, at, b[at:at+n])
	case 12:
		return grow(b, at, bytes.Repeat([]byte{[]byte{0, 0xff, ' ', byte(r.Uint32())}[r.IntN(4)]}, n))
	case 13: // of another seed
		o := m.seeds[r.IntN(len(m.seeds))].data
		from := r.IntN(len(o) + 1)
		part := o[from:min(len(o), from+stretch(r))]
		if r.IntN(2) == 0 {
			return grow(b, at, part)
		}
		copy(b[at:], part)
	case 14: // its end is another's
		o := m.seeds[r.IntN(len(m.seeds))].data
		if r.IntN(3) == 0 {
			return append(b[:at:at], o[min(at, len(o)):]...)
		}
		for i := range n {
			b[at+i] = byte(r.Uint32())
		}
	default:
		if r.IntN(4) == 0 {
			return b[:at]
		}
		other := r.IntN(len(b))
		b[at], b[other] = b[other], b[at]
	}
	return b
}

// place is near the begin or the end more often than not, where formats have their tables.
func place(r *rand.Rand, s *seed, length int) int {
	switch r.IntN(5) {
	case 0:
		return r.IntN(min(length, 256))
	case 1:
		return length - 1 - r.IntN(min(length, 256))
	case 2:
		if len(s.fields) > 0 {
			return min(s.fields[r.IntN(len(s.fields))].at, length-1)
		}
	}
	return r.IntN(length)
}

func stretch(r *rand.Rand) int { return 1 + r.IntN([]int{4, 16, 64, 512, 4096}[r.IntN(5)]) }

func grow(b []byte, at int, part []byte) []byte {
	if len(b)+len(part) > maxInput {
		return b
	}
	return slices.Concat(b[:at], part, b[at:])
}

// renumber changes a number of the format.
func (m *mutator) renumber(r *rand.Rand, s *seed, b []byte) []byte {
	if len(s.fields) == 0 {
		return b
	}
	f := s.fields[r.IntN(len(s.fields))]
	switch {
	case f.size > 0 && f.at+f.size <= len(b):
		v := number(b[f.at:f.at+f.size], f.big)
		putNumber(b[f.at:f.at+f.size], f.big, interesting(r, v, len(b), f.at))
	case f.size == 0 && f.end <= len(b):
		old, _ := strconv.ParseUint(string(b[f.at:f.end]), 10, 64) // zero when it is too long, or digits no more
		text := strconv.FormatUint(interesting(r, old, len(b), f.at), []int{10, 8, 16}[r.IntN(3)])
		if r.IntN(8) == 0 {
			text = "-" + text
		}
		if r.IntN(4) == 0 { // of another length
			return slices.Concat(b[:f.at], []byte(text), b[f.end:])
		}
		for i := range f.end - f.at { // right aligned, filled up by zeros
			b[f.end-1-i] = '0'
			if i < len(text) {
				b[f.end-1-i] = text[len(text)-1-i]
			}
		}
	}
	return b
}

// interesting is a number that readers stumble over.
func interesting(r *rand.Rand, old uint64, length, at int) uint64 {
	n := uint64(length)
	values := []uint64{
		0, 1, 2, 3, 4, 7, 8, 16, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffffe, 0xffffffff,
		1 << 32, 1<<63 - 1, 1 << 63, ^uint64(0), ^uint64(0) - 7, n, n - 1, n + 1, n - uint64(at), n / 2, uint64(at), uint64(at) + 1, 32 << 10, 1 << 20, 256 << 20, 1 << 30,
	}
	switch r.IntN(4) {
	case 0:
		return old + uint64(r.IntN(70)) - 35
	case 1:
		return []uint64{old * 2, old / 2, -old, ^old, old << 8, old >> 8, old + 4096, old - 4096}[r.IntN(8)]
	}
	return values[r.IntN(len(values))]
}
