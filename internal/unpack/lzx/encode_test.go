package lzx

import (
	"encoding/binary"
	"slices"
)

// encoder makes streams by the book, without any thought of size: codes of nearly one length, matches where they are found first.
type encoder struct {
	window  int
	calls   int32 // the size that is announced for calls; they are left as they are in what is given
	slots   int
	history []byte
	recent  [3]int
	begun   bool
	known   bool // the decoder has the lengths already

	words []byte
	hold  uint32
	n     uint
}

func newEncoder(window int, calls int32) *encoder {
	e := &encoder{window: 1 << window, calls: calls, recent: [3]int{1, 1, 1}}
	for base(e.slots) < e.window {
		e.slots++
	}
	return e
}

func (e *encoder) put(v uint32, n uint) {
	for i := int(n) - 1; i >= 0; i-- {
		e.hold = e.hold<<1 | v>>i&1
		if e.n++; e.n == 16 {
			e.words = binary.LittleEndian.AppendUint16(e.words, uint16(e.hold))
			e.hold, e.n = 0, 0
		}
	}
}

// flush fills the word.
func (e *encoder) flush() {
	if e.n > 0 {
		e.put(0, 16-e.n)
	}
}

// split is how many of n symbols have a code that is one bit shorter than that of the others, for a complete code, and how long it is.
func split(n int) (short int, bits uint) {
	long := uint(1)
	for 1<<long < n {
		long++
	}
	return 1<<long - n, long - 1
}

// lengths are those of a complete code of n symbols.
func lengths(n int) []byte {
	short, bits := split(n)
	return slices.Concat(slices.Repeat([]byte{byte(bits)}, short), slices.Repeat([]byte{byte(bits + 1)}, n-short))
}

func (e *encoder) code(s, n int) {
	short, bits := split(n)
	if s < short {
		e.put(uint32(s), bits)
		return
	}
	e.put(uint32(short+s), bits+1)
}

// tree tells the lengths of a code: codes of 4 bits for the sixteen first symbols of the tree before the tree.
func (e *encoder) tree(lens []byte) {
	for i := range preSize {
		if i < 16 {
			e.put(4, 4)
		} else {
			e.put(0, 4)
		}
	}
	for _, n := range lens {
		if e.known {
			e.put(0, 4) // as before
		} else {
			e.put(uint32(17-n), 4)
		}
	}
}

func (e *encoder) head(kind, size int) {
	if !e.begun {
		e.begun = true
		if e.calls != 0 {
			e.put(1, 1)
			e.put(uint32(e.calls)>>16, 16)
			e.put(uint32(e.calls)&0xffff, 16)
		} else {
			e.put(0, 1)
		}
	}
	e.put(uint32(kind), 3)
	e.put(uint32(size)>>8, 16)
	e.put(uint32(size)&0xff, 8)
	if kind == stored {
		e.flushStored()
		return
	}
	if kind == aligned {
		for range alignedSize {
			e.put(3, 3)
		}
	}
	all := lengths(literals + 8*e.slots)
	e.tree(all[:literals])
	e.tree(all[literals:])
	e.tree(lengths(lengthCodes))
	e.known = true
}

func (e *encoder) flushStored() {
	if e.n == 0 {
		e.put(0, 16)
	}
	e.flush()
	for _, r := range e.recent {
		e.words = binary.LittleEndian.AppendUint32(e.words, uint32(r))
	}
}

// body packs b, which must not reach beyond the frame.
func (e *encoder) body(kind int, b []byte) {
	if kind == stored {
		e.words, e.history = append(e.words, b...), append(e.history, b...)
		return
	}
	for len(b) > 0 {
		n, offset := e.match(b)
		if n < 4 {
			e.code(int(b[0]), literals+8*e.slots)
			n = 1
		} else {
			e.putMatch(kind, n, offset)
		}
		e.history, b = append(e.history, b[:n]...), b[n:]
	}
}

// match looks at a few distances.
func (e *encoder) match(b []byte) (best, distance int) {
	for _, offset := range []int{e.recent[0], e.recent[1], e.recent[2], 1, 2, 7, 100, 1000, 32000, 500_000, e.window - 3} {
		from, n := len(e.history)-offset, 0
		if from < 0 || offset > e.window-3 {
			continue
		}
		at := func(i int) byte {
			if i < offset {
				return e.history[from+i]
			}
			return b[i-offset]
		}
		for n < len(b) && n < 257 && at(n) == b[n] {
			n++
		}
		if n > best {
			best, distance = n, offset
		}
	}
	return best, distance
}

func (e *encoder) putMatch(kind, n, offset int) {
	slot, low := slices.Index(e.recent[:], offset), 0
	if slot >= 0 {
		e.recent[0], e.recent[slot] = e.recent[slot], e.recent[0]
	} else {
		for slot = 3; base(slot+1)-2 <= offset; slot++ {
		}
		low = offset - base(slot) + 2
		e.recent = [3]int{offset, e.recent[0], e.recent[1]}
	}
	n -= minMatch
	e.code(literals+8*slot+min(n, longMatch), literals+8*e.slots)
	if n >= longMatch {
		e.code(n-longMatch, lengthCodes)
	}
	switch more := extra(slot); {
	case slot < 3:
	case kind == aligned && more >= 3:
		e.put(uint32(low)>>3, more-3)
		e.put(uint32(low)&7, 3)
	default:
		e.put(uint32(low), more)
	}
}

// frame ends a frame.
func (e *encoder) frame() []byte {
	e.flush()
	out := e.words
	e.words = nil
	return out
}
