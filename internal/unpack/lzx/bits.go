package lzx

// bits reads a frame: words of 16 bits in little endian, the highest bit first, and in stored blocks bytes.
type bits struct {
	b  []byte
	at int

	hold  uint64 // the next bits, at the upper end
	n     uint
	empty uint // bits in hold that the frame does not have
}

// need makes at least n bits ready; behind the end there are zeros.
func (r *bits) need(n uint) {
	for r.n < n {
		var w uint64
		switch {
		case r.at+1 < len(r.b):
			w = uint64(r.b[r.at]) | uint64(r.b[r.at+1])<<8
			r.at += 2
		case r.at < len(r.b):
			w = uint64(r.b[r.at])
			r.at++
			r.empty += 8
		default:
			r.empty += 16
		}
		r.hold |= w << (48 - r.n)
		r.n += 16
	}
}

// over reports whether more was read than there is.
func (r *bits) over() bool { return r.empty > r.n || r.at > len(r.b) }

// read returns the next bits, 17 at most.
func (r *bits) read(n uint) uint32 {
	if n == 0 {
		return 0
	}
	r.need(n)
	v := uint32(r.hold >> (64 - n))
	r.skip(n)
	return v
}

func (r *bits) skip(n uint) {
	r.hold <<= n
	r.n -= n
}

// toBytes goes on to the next word, which is not the one that begins here.
func (r *bits) toBytes() {
	if r.n%16 == 0 {
		r.need(16)
		r.skip(16)
	} else {
		r.skip(r.n % 16)
	}
	r.at -= int(r.n / 8)
	r.hold, r.n = 0, 0
}

// bytes returns the next bytes, nil when they are not all there.
func (r *bits) bytes(n int) []byte {
	if r.empty > 0 || r.at < 0 || r.at > len(r.b) || n > len(r.b)-r.at {
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at : r.at]
}

// Codes are up to 16 bits long; those of up to rootBits are looked up in one step.
const maxBits, rootBits = 16, 10

// tree is a canonical Huffman code.
type tree struct {
	root   [1 << rootBits]uint16 // symbol<<4 | length; zero when the code is longer, or none
	sorted [mainMax]uint16       // symbols by length and value
	first  [maxBits + 1]int      // the first code of each length
	count  [maxBits + 1]int
	start  [maxBits + 1]int // its place in sorted
}

// build makes the tree from the length of each symbol's code. A code that is not complete is one all the same: what it lacks is not to come.
func (t *tree) build(lens []byte) error {
	t.count = [maxBits + 1]int{}
	for _, n := range lens {
		t.count[n]++
	}
	t.count[0] = 0
	code, place := 0, 0
	for n := 1; n <= maxBits; n++ {
		code <<= 1
		t.first[n], t.start[n] = code, place
		code, place = code+t.count[n], place+t.count[n]
		if code > 1<<n {
			return errData
		}
	}
	clear(t.root[:])
	next := t.start
	for s, n := range lens {
		if n == 0 {
			continue
		}
		place := next[n]
		next[n]++
		t.sorted[place] = uint16(s)
		if n <= rootBits {
			code := t.first[n] + place - t.start[n]
			step := 1 << (rootBits - n)
			for i := range step {
				t.root[code*step+i] = uint16(s)<<4 | uint16(n)
			}
		}
	}
	return nil
}

// symbol reads a symbol, -1 when there is no such code.
func (t *tree) symbol(r *bits) int {
	r.need(maxBits)
	if e := t.root[r.hold>>(64-rootBits)]; e != 0 {
		r.skip(uint(e & 15))
		return int(e >> 4)
	}
	for n := rootBits + 1; n <= maxBits; n++ {
		if at := int(r.hold>>(64-n)) - t.first[n]; at >= 0 && at < t.count[n] {
			r.skip(uint(n))
			return int(t.sorted[t.start[n]+at])
		}
	}
	return -1
}
