package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bodgit/sevenzip"
	"github.com/stangelandcl/ppmd"
	"github.com/ulikunitz/xz/lzma"
)

// The library that reads 7z archives makes dictionaries and models as large as an archive wants them, up to 4 GiB, and tries passwords that
// nobody has. It lets its methods be replaced: here are those that want memory, with a bound, and the one that encrypts, which says so.
const maxModel = 256 << 20 // 7-Zip makes none larger by its presets

var (
	errLocked  = errors.New("7z: encrypted")
	errMethod  = errors.New("7z: broken properties of a method")
	errDamaged = errors.New("7z: damaged PPMd stream")
)

// boundSevenZip replaces the library's methods. That it has been done before does no harm.
func boundSevenZip() {
	for id, m := range map[string]sevenzip.Decompressor{"\x03\x01\x01": sevenLZMA, "\x21": sevenLZMA2, "\x03\x04\x01": sevenPPMd, "\x06\xf1\x07\x01": sevenAES} {
		sevenzip.RegisterDecompressor([]byte(id), m)
	}
}

// stream is what a method reads from, and closes.
type stream struct {
	io.Reader
	io.Closer
}

func sevenAES([]byte, uint64, []io.ReadCloser) (io.ReadCloser, error) { return nil, errLocked }

// fitted is how large a dictionary is made: what is referred to lies in what came out before, so none need be larger than that.
func fitted(wanted, size uint64) (uint64, error) {
	fit := max(min(wanted, size), lzma.MinDictCap)
	if fit > maxModel {
		return 0, &bound{ReasonUnsupported, fmt.Sprintf("7z archive that wants %d MiB of memory", fit>>20)}
	}
	return fit, nil
}

func sevenLZMA(p []byte, size uint64, in []io.ReadCloser) (io.ReadCloser, error) {
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

func sevenLZMA2(p []byte, size uint64, in []io.ReadCloser) (io.ReadCloser, error) {
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

func sevenPPMd(p []byte, size uint64, in []io.ReadCloser) (io.ReadCloser, error) {
	if len(in) != 1 || len(p) != 5 {
		return nil, errMethod
	}
	memory := binary.LittleEndian.Uint32(p[1:])
	if memory > maxModel {
		return nil, &bound{ReasonUnsupported, fmt.Sprintf("7z archive that wants %d MiB of memory", memory>>20)}
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
