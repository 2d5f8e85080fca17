// Package xzfile reads .xz files (The .xz File Format 1.2) with a bound on the dictionary.
//
// A block says how large a dictionary it wants, up to 4 GiB, and the library that undoes LZMA2 makes one of that size before it reads on. Here
// headers, sums and the index are read, and a block that wants more than the bound is refused; what is in blocks is left to the library. Only
// LZMA2 alone is undone, no filter before it.
package xzfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Errors of the package.
var (
	ErrFormat      = errors.New("xz: broken file")
	ErrDictionary  = errors.New("xz: it wants a larger dictionary than is given")
	ErrUnsupported = errors.New("xz: a filter or a sum that is not known")
)

const (
	magic       = "\xfd7zXZ\x00"
	footerMagic = "YZ"
	headerSize  = 12 // of a stream
	footerSize  = 12
	lzma2       = 0x21
)

// Reader reads what a file holds, all its streams one after another.
type Reader struct {
	in     counter
	max    int64
	flags  [2]byte // of the stream
	blocks uint64  // of the stream
	block  io.Reader
	begin  int64 // of the block's content
	sum    hash.Hash
	err    error
}

// counter counts what was read.
type counter struct {
	r io.Reader
	n int64
}

// Read reads.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// full fills p; the end before that is no clean one.
func (c *counter) full(p []byte) error {
	if _, err := io.ReadFull(c, p); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("xz: %w", err)
	}
	return nil
}

// NewReader reads the header of the first stream. Blocks may want a dictionary of up to max bytes.
func NewReader(r io.Reader, max int64) (*Reader, error) {
	x := &Reader{in: counter{r: r}, max: max}
	var head [headerSize]byte
	if err := x.in.full(head[:]); err != nil {
		return nil, err
	}
	if err := x.header(head[:]); err != nil {
		return nil, err
	}
	return x, nil
}

// header takes the header of a stream.
func (x *Reader) header(h []byte) error {
	if string(h[:6]) != magic || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) || h[6] != 0 {
		return ErrFormat
	}
	x.flags, x.blocks = [2]byte(h[6:8]), 0
	switch x.flags[1] {
	case 0:
		x.sum = nil
	case 1:
		x.sum = crc32.NewIEEE()
	case 4:
		x.sum = crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		x.sum = sha256.New()
	default:
		return ErrUnsupported
	}
	return nil
}

// Read reads on.
func (x *Reader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			if x.err = x.next(); x.err != nil {
				break
			}
		}
		n, err := x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n]) // a hash never fails
		}
		if errors.Is(err, io.EOF) {
			x.block = nil
			err = x.endBlock()
		}
		x.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// next goes to the next block, over the end of a stream if need be. io.EOF is the end of the last.
func (x *Reader) next() error {
	for {
		var size [1]byte
		if err := x.in.full(size[:]); err != nil {
			return err
		}
		if size[0] != 0 {
			return x.beginBlock(size[0])
		}
		if err := x.index(); err != nil {
			return err
		}
		if err := x.nextStream(); err != nil {
			return err
		}
	}
}

// beginBlock reads the header of a block, whose first byte says how long it is.
func (x *Reader) beginBlock(size byte) error {
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if err := x.in.full(h[1:]); err != nil {
		return err
	}
	body := h[:len(h)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(h[len(body):]) {
		return ErrFormat
	}
	flags, fields := body[1], bytes.NewReader(body[2:])
	for _, bit := range []byte{0x40, 0x80} { // sizes, which the end of the block tells too
		if flags&bit != 0 {
			if _, err := binary.ReadUvarint(fields); err != nil {
				return ErrFormat
			}
		}
	}
	id, err1 := binary.ReadUvarint(fields)
	length, err2 := binary.ReadUvarint(fields)
	properties, err3 := fields.ReadByte()
	switch {
	case flags&0x3c != 0 || errors.Join(err1, err2, err3) != nil:
		return ErrFormat
	case flags&3 != 0 || id != lzma2 || length != 1:
		return ErrUnsupported
	}
	want := dictionary(properties)
	if want < 0 {
		return ErrFormat
	}
	if want > x.max {
		return fmt.Errorf("%w: %d MiB", ErrDictionary, want>>20)
	}
	return x.open(want)
}

// open begins to read the content of a block.
func (x *Reader) open(dictionary int64) error {
	x.begin = x.in.n
	r, err := lzma.Reader2Config{DictCap: int(max(dictionary, lzma.MinDictCap))}.NewReader2(&x.in)
	if err != nil {
		return fmt.Errorf("xz: %w", err)
	}
	if x.sum != nil {
		x.sum.Reset()
	}
	x.block, x.blocks = r, x.blocks+1
	return nil
}

// dictionary is how large a dictionary the property of LZMA2 says, negative when it says none.
func dictionary(p byte) int64 {
	switch {
	case p > 40:
		return -1
	case p == 40:
		return 1<<32 - 1
	}
	return (2 | int64(p&1)) << (p/2 + 11)
}

// endBlock reads what is behind the content of a block: zeros up to a multiple of four, and the sum.
func (x *Reader) endBlock() error {
	if err := x.zeros(-(x.in.n - x.begin) & 3); err != nil || x.sum == nil {
		return err
	}
	want := x.sum.Sum(nil)
	if x.flags[1] != 10 { // the numbers are stored with their lowest byte first
		for i, j := 0, len(want)-1; i < j; i, j = i+1, j-1 {
			want[i], want[j] = want[j], want[i]
		}
	}
	got := make([]byte, len(want))
	if err := x.in.full(got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: the sum of a block", ErrFormat)
	}
	return nil
}

func (x *Reader) zeros(n int64) error {
	var pad [3]byte
	if err := x.in.full(pad[:n]); err != nil {
		return err
	}
	if pad != [3]byte{} {
		return ErrFormat
	}
	return nil
}

// index reads the list of blocks, behind its first byte, and the end of the stream. Of the list only the number of blocks is compared.
func (x *Reader) index() error {
	sum := crc32.NewIEEE()
	begin := x.in.n - 1
	list := &bytewise{in: &x.in, sum: sum}
	sum.Write([]byte{0}) // the byte that was read; a hash never fails
	count, err := binary.ReadUvarint(list)
	if err != nil || count != x.blocks {
		return fmt.Errorf("%w: the index", ErrFormat)
	}
	for range 2 * count {
		if _, err := binary.ReadUvarint(list); err != nil {
			return fmt.Errorf("%w: the index", ErrFormat)
		}
	}
	for (x.in.n-begin)&3 != 0 {
		if b, err := list.ReadByte(); err != nil || b != 0 {
			return fmt.Errorf("%w: the index", ErrFormat)
		}
	}
	size := x.in.n - begin
	tail := make([]byte, 4+footerSize)
	if err := x.in.full(tail); err != nil {
		return err
	}
	foot := tail[4:]
	switch {
	case binary.LittleEndian.Uint32(tail) != sum.Sum32(), crc32.ChecksumIEEE(foot[4:10]) != binary.LittleEndian.Uint32(foot),
		int64(binary.LittleEndian.Uint32(foot[4:]))*4 != size, [2]byte(foot[8:10]) != x.flags, string(foot[10:]) != footerMagic:
		return fmt.Errorf("%w: the end of a stream", ErrFormat)
	}
	return nil
}

// bytewise reads single bytes and sums them.
type bytewise struct {
	in  *counter
	sum hash.Hash32
}

// ReadByte reads one.
func (b *bytewise) ReadByte() (byte, error) {
	var one [1]byte
	if err := b.in.full(one[:]); err != nil {
		return 0, err
	}
	b.sum.Write(one[:]) // a hash never fails
	return one[0], nil
}

// nextStream skips padding, four zeros at a time, and reads the header of the next stream. io.EOF says that there is none.
func (x *Reader) nextStream() error {
	var head [headerSize]byte
	for {
		if _, err := io.ReadFull(&x.in, head[:4]); err != nil {
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("xz: behind a stream: %w", err)
		}
		if [4]byte(head[:4]) != [4]byte{} {
			break
		}
	}
	if err := x.in.full(head[4:]); err != nil {
		return err
	}
	return x.header(head[:])
}
