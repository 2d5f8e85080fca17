// Package nsisbzip undoes the bzip2 of NSIS installers: blocks of 900 kB without the marks, checksums and header of a .bz2 file. Each begins
// with the byte '1', the last is followed by 0x17.
package nsisbzip

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

const (
	maxBlock   = 900_000
	groupSize  = 50 // symbols that share a table
	maxTables  = 6
	maxLength  = 20 // bits of a code
	maxSymbols = 258
	runA, runB = 0, 1
)

// ErrFormat says that the stream is damaged.
var ErrFormat = errors.New("nsisbzip: broken stream")

// Reader unpacks a stream. Its memory does not depend on what the stream says.
type Reader struct {
	bits  bitReader
	tt    []uint32 // a block before and after its sorting is undone
	out   []byte   // not yet read
	err   error
	count int // blocks so far
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{bits: bitReader{r: bufio.NewReader(r)}}
}

// Read reads on.
func (z *Reader) Read(p []byte) (int, error) {
	for len(z.out) == 0 {
		if z.err != nil {
			return 0, z.err
		}
		z.err = z.block()
	}
	n := copy(p, z.out)
	z.out = z.out[n:]
	return n, nil
}

// block unpacks the next block, or returns io.EOF at the end mark.
func (z *Reader) block() error {
	switch mark := z.bits.read(8); {
	case z.bits.err != nil:
		return z.bits.err
	case mark == 0x17:
		return io.EOF
	case mark != '1':
		return ErrFormat
	}
	z.count++
	origin := z.bits.read(24)
	symbols := z.symbols()
	tables, selectors, err := z.tables(len(symbols) + 2)
	if err != nil {
		return err
	}
	if z.tt == nil {
		z.tt = make([]uint32, maxBlock)
	}
	var counts [256]int
	n, err := z.moves(symbols, tables, selectors, &counts)
	if err != nil {
		return err
	}
	if int(origin) >= n {
		return ErrFormat
	}
	z.out, err = unsort(z.tt[:n], &counts, int(origin))
	return err
}

// symbols reads which bytes occur.
func (z *Reader) symbols() []byte {
	var out []byte
	rows := z.bits.read(16)
	for row := range 16 {
		if rows>>(15-row)&1 == 0 {
			continue
		}
		used := z.bits.read(16)
		for i := range 16 {
			if used>>(15-i)&1 != 0 {
				out = append(out, byte(row*16+i))
			}
		}
	}
	return out
}

// tables reads the codes, and which group of symbols uses which.
func (z *Reader) tables(symbols int) ([]code, []byte, error) {
	count, groups := z.bits.read(3), z.bits.read(15)
	if z.bits.err != nil {
		return nil, nil, z.bits.err
	}
	if symbols < 3 || count < 2 || count > maxTables || groups == 0 {
		return nil, nil, ErrFormat
	}
	order := []byte{0, 1, 2, 3, 4, 5}
	selectors := make([]byte, groups)
	for i := range selectors {
		at := uint32(0)
		for z.bits.read(1) == 1 {
			if at++; at >= count {
				return nil, nil, ErrFormat
			}
		}
		t := order[at]
		copy(order[1:at+1], order[:at])
		order[0], selectors[i] = t, t
	}
	out := make([]code, count)
	for i := range out {
		lengths := make([]uint8, symbols)
		length := z.bits.read(5)
		for s := range lengths {
			for z.bits.read(1) == 1 {
				if z.bits.read(1) == 0 {
					length++
				} else {
					length--
				}
				if z.bits.err != nil {
					return nil, nil, z.bits.err
				}
			}
			if length < 1 || length > maxLength {
				return nil, nil, ErrFormat
			}
			lengths[s] = uint8(length)
		}
		out[i] = newCode(lengths)
	}
	return out, selectors, z.bits.err
}

// moves undoes the codes, the runs and the moving to front, into tt.
func (z *Reader) moves(symbols []byte, tables []code, selectors []byte, counts *[256]int) (int, error) {
	end := len(symbols) + 1
	n, run, weight := 0, 0, 1
	for group := 0; ; group++ {
		if group >= len(selectors) {
			return 0, ErrFormat
		}
		table := &tables[selectors[group]]
		for range groupSize {
			s := table.next(&z.bits)
			if z.bits.err != nil {
				return 0, z.bits.err
			}
			if s == runA || s == runB {
				if weight > maxBlock {
					return 0, ErrFormat
				}
				run += weight << s
				weight <<= 1
				continue
			}
			if run > 0 {
				if run > maxBlock-n {
					return 0, ErrFormat
				}
				for range run {
					z.tt[n] = uint32(symbols[0])
					n++
				}
				counts[symbols[0]] += run
				run, weight = 0, 1
			}
			if s == end {
				return n, nil
			}
			if s < 0 || s > end || n >= maxBlock {
				return 0, ErrFormat
			}
			b := symbols[s-1]
			copy(symbols[1:s], symbols[:s-1])
			symbols[0] = b
			z.tt[n] = uint32(b)
			counts[b]++
			n++
		}
	}
}

// unsort undoes the Burrows-Wheeler transform, and then the runs of four that were cut short before it.
func unsort(tt []uint32, counts *[256]int, origin int) ([]byte, error) {
	sum := 0
	var begin [256]int
	for b, c := range counts {
		begin[b] = sum
		sum += c
	}
	for i := range tt {
		b := tt[i] & 0xff
		tt[begin[b]] |= uint32(i) << 8
		begin[b]++
	}
	out := make([]byte, 0, len(tt)+len(tt)/8)
	at, run, last := tt[origin]>>8, 0, -1
	for range tt {
		entry := tt[at]
		b := byte(entry)
		at = entry >> 8
		if run == 4 {
			for range b {
				out = append(out, byte(last))
			}
			run, last = 0, -1
			continue
		}
		if int(b) == last {
			run++
		} else {
			run, last = 1, int(b)
		}
		out = append(out, b)
	}
	return out, nil
}

// code is a canonical Huffman code.
type code struct {
	first  [maxLength + 2]int32 // the first code of each length
	offset [maxLength + 2]int32 // and its place among the symbols
	count  [maxLength + 2]int32
	order  []uint16 // symbols by code
}

func newCode(lengths []uint8) code {
	var c code
	for _, l := range lengths {
		c.count[l]++
	}
	next, place := int32(0), int32(0)
	for l := 1; l <= maxLength; l++ {
		next <<= 1
		c.first[l], c.offset[l] = next, place
		next += c.count[l]
		place += c.count[l]
		for s, x := range lengths {
			if int(x) == l {
				c.order = append(c.order, uint16(s))
			}
		}
	}
	return c
}

// next reads a symbol, -1 when the bits are none.
func (c *code) next(bits *bitReader) int {
	v := int32(0)
	for l := 1; l <= maxLength; l++ {
		v = v<<1 | int32(bits.read(1))
		if at := v - c.first[l]; at >= 0 && at < c.count[l] {
			return int(c.order[c.offset[l]+at])
		}
	}
	return -1
}

// bitReader reads bits, the highest first.
type bitReader struct {
	r    io.ByteReader
	bits uint64
	have uint
	err  error
}

func (b *bitReader) read(n uint) uint32 {
	for b.have < n {
		x, err := b.r.ReadByte()
		if err != nil {
			if b.err == nil {
				b.err = fmt.Errorf("nsisbzip: %w", io.ErrUnexpectedEOF)
			}
			return 0
		}
		b.bits = b.bits<<8 | uint64(x)
		b.have += 8
	}
	b.have -= n
	return uint32(b.bits >> b.have & (1<<n - 1))
}
