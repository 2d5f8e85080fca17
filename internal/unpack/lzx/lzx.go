// Package lzx unpacks LZX as cabinet files have it (MS-CAB, section 2.2; MS-PATCH, section 2): one stream for each folder, cut into frames of 32 KiB.
//
// Frames are given one after another, as the blocks of a cabinet are. Memory is bounded by the window, work by what comes out and by the
// length of what goes in.
package lzx

import (
	"encoding/binary"
	"errors"
)

// FrameSize is how much a frame unpacks to at most.
const FrameSize = 32 << 10

// Windows are from 32 KiB to 2 MiB.
const minWindow, maxWindow = 15, 21

// Kinds of blocks.
const (
	verbatim = 1 + iota
	aligned
	stored
)

// Sizes of the trees, and what their symbols mean.
const (
	literals    = 256
	maxSlots    = 50
	mainMax     = literals + 8*maxSlots
	lengthCodes = 249
	alignedSize = 8
	preSize     = 20
	minMatch    = 2
	longMatch   = 7 // the length goes on in the tree of lengths
)

// x86 calls are kept with absolute addresses, up to some place in the stream.
const (
	callCode   = 0xe8
	callMargin = 10
	callFrames = 32768
)

var (
	// ErrWindow says that there is no such size of window.
	ErrWindow  = errors.New("lzx: no such window")
	errData    = errors.New("lzx: broken data")
	errCut     = errors.New("lzx: cut off")
	errTooLong = errors.New("lzx: frame is too long")
)

// Decoder unpacks one stream.
type Decoder struct {
	window int
	slots  int

	begun    bool
	callSize int32 // zero: calls are as they were
	frames   int

	kind, left int  // of the block
	odd        bool // a byte follows a stored block of odd size
	recent     [3]int
	mainLen    [mainMax]byte
	lengthLen  [lengthCodes]byte
	main       tree
	length     tree
	align      tree

	history []byte // what came out, before calls are put back
	out     []byte
	err     error
}

// New returns a Decoder for a window of 1<<bits bytes.
func New(bits int) (*Decoder, error) {
	if bits < minWindow || bits > maxWindow {
		return nil, ErrWindow
	}
	d := &Decoder{window: 1 << bits, recent: [3]int{1, 1, 1}}
	for d.slots = 0; base(d.slots) < d.window; d.slots++ {
	}
	return d, nil
}

// extra is how many bits of an offset follow a slot.
func extra(slot int) uint { return uint(min(max(slot/2-1, 0), 17)) }

// base is the least offset of a slot, before what is taken off.
func base(slot int) int {
	const flat = 38 // from here on slots are of one size
	switch {
	case slot < 4:
		return slot
	case slot < flat:
		return (2 + slot&1) << extra(slot)
	default:
		return (slot - flat + 4) << 17
	}
}

// Frame unpacks the next frame, which is size bytes. The result is good until the next call.
func (d *Decoder) Frame(packed []byte, size int) ([]byte, error) {
	if d.err == nil && (size < 0 || size > FrameSize) {
		d.err = errTooLong
	}
	if d.err != nil {
		return nil, d.err
	}
	if len(d.history)+size > 2*d.window+FrameSize {
		n := copy(d.history, d.history[len(d.history)-d.window:])
		d.history = d.history[:n]
	}
	from := len(d.history)
	if d.err = d.frame(&bits{b: packed}, from+size); d.err != nil {
		return nil, d.err
	}
	d.out = append(d.out[:0], d.history[from:]...)
	d.restoreCalls()
	d.frames++
	return d.out, nil
}

// frame unpacks until history has a length.
func (d *Decoder) frame(r *bits, until int) error {
	if !d.begun {
		d.begun = true
		if r.read(1) == 1 {
			d.callSize = int32(r.read(16)<<16 | r.read(16))
		}
	}
	for len(d.history) < until {
		if d.left == 0 {
			if err := d.block(r); err != nil {
				return err
			}
		}
		before, end := len(d.history), min(until, len(d.history)+d.left)
		var err error
		if d.kind == stored {
			err = d.copyStored(r, end-before)
		} else {
			err = d.expand(r, end)
		}
		if err != nil {
			return err
		}
		d.left -= len(d.history) - before
		if r.over() {
			return errCut
		}
	}
	if d.left == 0 && d.odd && r.at < len(r.b) {
		d.odd = false // its last byte is in this frame
	}
	return nil
}

// block reads the head of a block.
func (d *Decoder) block(r *bits) error {
	if d.odd {
		r.at, d.odd = r.at+1, false
	}
	d.kind = int(r.read(3))
	d.left = int(r.read(16)<<8 | r.read(8))
	if r.over() || d.left == 0 {
		return errCut
	}
	switch d.kind {
	case aligned:
		var lens [alignedSize]byte
		for i := range lens {
			lens[i] = byte(r.read(3))
		}
		if err := d.align.build(lens[:]); err != nil {
			return err
		}
		return d.trees(r)
	case verbatim:
		return d.trees(r)
	case stored:
		return d.store(r)
	}
	return errData
}

// trees reads the trees of a block, which are told as changes of those before.
func (d *Decoder) trees(r *bits) error {
	all := d.mainLen[:literals+8*d.slots]
	for _, lens := range [][]byte{all[:literals], all[literals:], d.lengthLen[:]} {
		if err := readLengths(r, lens); err != nil {
			return err
		}
	}
	return errors.Join(d.main.build(all), d.length.build(d.lengthLen[:]))
}

// readLengths reads the lengths of codes.
func readLengths(r *bits, lens []byte) error {
	var preLen [preSize]byte
	for i := range preLen {
		preLen[i] = byte(r.read(4))
	}
	var pre tree
	if err := pre.build(preLen[:]); err != nil {
		return err
	}
	for i := 0; i < len(lens); {
		code, n, same := pre.symbol(r), 1, true
		switch code {
		case 17:
			n, same = 4+int(r.read(4)), false
		case 18:
			n, same = 20+int(r.read(5)), false
		case 19:
			n = 4 + int(r.read(1))
			code = pre.symbol(r)
		}
		if code < 0 || r.over() || i+n > len(lens) || same && code > 16 {
			return errData
		}
		var v byte
		if same {
			v = byte((int(lens[i]) - code + 17) % 17)
		}
		for range n {
			lens[i] = v
			i++
		}
	}
	return nil
}

// store begins a block that is not packed: from here on bytes are read.
func (d *Decoder) store(r *bits) error {
	r.toBytes()
	b := r.bytes(4 * len(d.recent))
	if b == nil {
		return errCut
	}
	for i := range d.recent {
		d.recent[i] = int(binary.LittleEndian.Uint32(b[4*i:]))
	}
	d.odd = d.left%2 == 1
	return nil
}

func (d *Decoder) copyStored(r *bits, n int) error {
	b := r.bytes(n)
	if b == nil {
		return errCut
	}
	d.history = append(d.history, b...)
	return nil
}

// expand unpacks literals and matches until history has a length.
func (d *Decoder) expand(r *bits, end int) error {
	for len(d.history) < end {
		if r.over() {
			return errCut
		}
		m := d.main.symbol(r)
		if m < 0 {
			return errData
		}
		if m < literals {
			d.history = append(d.history, byte(m))
			continue
		}
		m -= literals
		n := m % 8
		if n == longMatch {
			more := d.length.symbol(r)
			if more < 0 {
				return errData
			}
			n += more
		}
		n += minMatch
		offset := d.offset(r, m/8)
		from := len(d.history) - offset
		if offset <= 0 || offset > d.window || from < 0 || n > end-len(d.history) {
			return errData
		}
		for i := range n {
			d.history = append(d.history, d.history[from+i])
		}
	}
	return nil
}

// offset reads how far back a match is, and keeps the last three.
func (d *Decoder) offset(r *bits, slot int) int {
	if slot < len(d.recent) {
		d.recent[0], d.recent[slot] = d.recent[slot], d.recent[0]
		return d.recent[0]
	}
	n := extra(slot)
	offset := base(slot) - 2
	if d.kind == aligned && n >= 3 {
		offset += int(r.read(n-3)) << 3
		low := d.align.symbol(r)
		if low < 0 {
			return 0
		}
		offset += low
	} else {
		offset += int(r.read(n))
	}
	d.recent = [3]int{offset, d.recent[0], d.recent[1]}
	return offset
}

// restoreCalls puts relative addresses back into calls of x86 programs, in the frame that came out.
func (d *Decoder) restoreCalls() {
	if d.callSize == 0 || d.frames >= callFrames {
		return
	}
	here := int32(d.frames * FrameSize)
	for i := 0; i < len(d.out)-callMargin; i++ {
		if d.out[i] != callCode {
			continue
		}
		at := d.out[i+1 : i+5]
		to, now := int32(binary.LittleEndian.Uint32(at)), here+int32(i)
		if to >= -now && to < d.callSize {
			if to >= 0 {
				to -= now
			} else {
				to += d.callSize
			}
			binary.LittleEndian.PutUint32(at, uint32(to))
		}
		i += 4
	}
}
