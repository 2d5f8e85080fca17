package seven

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bodgit/sevenzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stangelandcl/ppmd"
	"github.com/ulikunitz/xz/lzma"
)

// How much memory a method may take: 7-Zip takes no more by any of its presets.
const (
	maxModel  = 256 << 20
	maxWindow = 128 << 20 // of zstd
)

// Ids of methods.
const (
	methodCopy  = "\x00"
	methodLZMA  = "\x03\x01\x01"
	methodPPMd  = "\x03\x04\x01"
	methodAES   = "\x06\xf1\x07\x01"
	methodLZMA2 = "\x21"
	methodZstd  = "\x04\xf7\x11\x01"
	methodDelta = "\x03"
)

var (
	errMethod  = errors.New("7z: broken properties of a method")
	errDamaged = errors.New("7z: damaged PPMd stream")
)

// methods are those that take memory, the one that encrypts, and one that the library reads without end when its stream is cut off.
func methods() map[string]sevenzip.Decompressor {
	return map[string]sevenzip.Decompressor{methodLZMA: lzma1, methodLZMA2: lzma2, methodPPMd: model, methodAES: locked, methodZstd: zstandard, methodDelta: delta}
}

// replaceMethods replaces the library's, in its own table. That it has been done before does no harm.
func replaceMethods() {
	for id, m := range methods() {
		sevenzip.RegisterDecompressor([]byte(id), m)
	}
}

// stream is what a method reads from, and closes.
type stream struct {
	io.Reader
	io.Closer
}

func locked([]byte, uint64, []io.ReadCloser) (io.ReadCloser, error) { return nil, ErrLocked }

// fitted is how large a dictionary is made: what is referred to lies in what came out before, so none need be larger than that.
func fitted(wanted, size uint64) (uint64, error) {
	fit := max(min(wanted, size), lzma.MinDictCap)
	if fit > maxModel {
		return 0, fmt.Errorf("%w: %d MiB", ErrMemory, fit>>20)
	}
	return fit, nil
}

func lzma1(p []byte, size uint64, in []io.ReadCloser) (io.ReadCloser, error) {
	if len(in) != 1 || len(p) != 5 {
		return nil, errMethod
	}
	dictionary, err := fitted(uint64(binary.LittleEndian.Uint32(p[1:])), size)
	if err != nil {
		return nil, err
	}
	head := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32([]byte{p[0]}, uint32(dictionary)), size)
	r, err := lzma.ReaderConfig{DictCap: int(dictionary)}.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(head), in[0])))
	if err != nil {
		return nil, fmt.Errorf("7z: %w", err)
	}
	return stream{r, in[0]}, nil
}

func lzma2(p []byte, size uint64, in []io.ReadCloser) (io.ReadCloser, error) {
	if len(in) != 1 || len(p) != 1 || p[0] > 40 {
		return nil, errMethod
	}
	wanted := uint64(1<<32 - 1)
	if p[0] < 40 {
		wanted = (2 | uint64(p[0]&1)) << (p[0]/2 + 11)
	}
	dictionary, err := fitted(wanted, size)
	if err != nil {
		return nil, err
	}
	r, err := lzma.Reader2Config{DictCap: int(dictionary)}.NewReader2(in[0])
	if err != nil {
		return nil, fmt.Errorf("7z: %w", err)
	}
	return stream{r, in[0]}, nil
}

func model(p []byte, size uint64, in []io.ReadCloser) (io.ReadCloser, error) {
	if len(in) != 1 || len(p) != 5 {
		return nil, errMethod
	}
	memory := binary.LittleEndian.Uint32(p[1:])
	if memory > maxModel {
		return nil, fmt.Errorf("%w: %d MiB", ErrMemory, memory>>20)
	}
	r, err := ppmd.NewH7zReader(in[0], int(p[0]), int(memory), int(min(size, 1<<62)))
	if err != nil {
		return nil, fmt.Errorf("7z: %w", err)
	}
	return stream{&modelReader{r: &r}, in[0]}, nil
}

// modelReader makes of a panic, which damaged streams lead the model to, an error of this stream alone.
type modelReader struct {
	r   *ppmd.Reader
	err error
}

// Read reads on.
func (m *modelReader) Read(p []byte) (n int, err error) {
	if m.err != nil {
		return 0, m.err
	}
	defer func() {
		if recover() != nil {
			n, err = 0, errDamaged
		}
		m.err = err
	}()
	return m.r.Read(p)
}

func zstandard(_ []byte, _ uint64, in []io.ReadCloser) (io.ReadCloser, error) {
	if len(in) != 1 {
		return nil, errMethod
	}
	z, err := zstd.NewReader(in[0], zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("7z: %w", err)
	}
	return stream{z, z.IOReadCloser()}, nil
}

func delta(p []byte, _ uint64, in []io.ReadCloser) (io.ReadCloser, error) {
	if len(in) != 1 || len(p) != 1 {
		return nil, errMethod
	}
	return stream{&differences{r: in[0], before: make([]byte, int(p[0])+1)}, in[0]}, nil
}

// differences makes bytes of their differences from those some places before.
type differences struct {
	r      io.Reader
	before []byte
	at     int
}

// Read reads on.
func (d *differences) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	for i := range p[:n] {
		p[i] += d.before[d.at]
		d.before[d.at] = p[i]
		d.at = (d.at + 1) % len(d.before)
	}
	return n, err
}
