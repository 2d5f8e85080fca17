package unpack

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"github.com/chaperone-im/chaperone/internal/unpack/nsisbzip"
)

// Installers of NSIS: behind the program a header of 28 bytes, then either one compressed stream (solid) or compressed blocks, each with its
// length before it. The first is the script, the others are files, whose names are in the script and are not read here.
const (
	nsisMark   = "\xef\xbe\xad\xdeNullsoftInst"
	nsisHeader = 28
	nsisFlag   = 1 << 31 // in the length of a block: it is compressed
	nsisProps  = 5       // of LZMA
	nsisDict   = 64 << 20
)

// nsisData returns what lies behind the header of an installer, nil when there is none.
func nsisData(b []byte) []byte {
	for at := range indices(b, nsisMark) {
		if begin := at - 4; begin >= 0 && begin+nsisHeader <= len(b) {
			all := int64(binary.LittleEndian.Uint32(b[begin+24:]))
			return b[begin+nsisHeader : min(int64(len(b)), max(int64(begin)+all, int64(begin)+nsisHeader))]
		}
	}
	return nil
}

// nsis walks the files of an installer.
func (w *walker) nsis(inside string, data []byte, depth int) error {
	if len(data) < 12 {
		return errCut
	}
	if nsisInBlocks(data) {
		return w.nsisBlocks(inside, data, depth)
	}
	r, err := nsisStream(data)
	if err != nil {
		return err
	}
	m := w.metered(r, inside, int64(len(data)))
	for n := 0; ; n++ {
		var head [4]byte
		if _, err := io.ReadFull(m, head[:]); err != nil {
			if n > 0 { // the end mark is missing in some
				return nil
			}
			return fmt.Errorf("nsis: %w", err)
		}
		body := &exactly{m, int64(binary.LittleEndian.Uint32(head[:]) &^ nsisFlag)}
		if err := w.nsisFile(inside, n, body, depth); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, m, body.left); err != nil {
			return fmt.Errorf("nsis: %w", errCut)
		}
	}
}

// nsisInBlocks reports whether data are blocks with their lengths, up to a checksum at their end.
func nsisInBlocks(data []byte) bool {
	for len(data) > 4 {
		size := int64(binary.LittleEndian.Uint32(data) &^ nsisFlag)
		if size == 0 || size > int64(len(data)-4) {
			return false
		}
		data = data[4+size:]
	}
	return len(data) == 0 || len(data) == 4
}

// nsisBlocks walks an installer that is not solid.
func (w *walker) nsisBlocks(inside string, data []byte, depth int) error {
	for n := 0; len(data) > 4; n++ { // at the end are 4 bytes of checksum
		size := binary.LittleEndian.Uint32(data)
		body := data[4:]
		length := int64(size &^ nsisFlag)
		if length > int64(len(body)) {
			return errCut
		}
		body, data = body[:length], body[length:]
		var r io.Reader = bytes.NewReader(body)
		var err error
		if size&nsisFlag != 0 {
			r, err = nsisStream(body)
		}
		if err == nil {
			err = w.nsisFile(inside, n, w.metered(r, inside, length), depth)
		}
		if err := w.memberError(w.join(inside, nsisName(n)), err); err != nil {
			return err
		}
	}
	return nil
}

// nsisFile looks at one block: the first is the script.
func (w *walker) nsisFile(inside string, n int, r io.Reader, depth int) error {
	if n == 0 {
		return nil
	}
	return w.member(inside, nsisName(n), r, depth)
}

func nsisName(n int) string { return fmt.Sprintf("file-%d", n) }

// nsisStream opens a compressed stream, which tells by its first bytes what it is: LZMA begins with its properties, perhaps behind a flag of a
// filter that is not undone, bzip2 with the first byte of a block, and Deflate with neither.
func nsisStream(b []byte) (io.Reader, error) {
	switch {
	case isLZMA(b):
		return nsisLZMA(b)
	case len(b) > 1 && b[0] <= 1 && isLZMA(b[1:]):
		return nsisLZMA(b[1:])
	case len(b) > 1 && b[0] == '1' && b[1] < 14:
		return nsisbzip.NewReader(bytes.NewReader(b)), nil
	}
	return flate.NewReader(bytes.NewReader(b)), nil
}

// isLZMA: the usual properties, a dictionary in whole KiB, and the zero byte with which each stream begins.
func isLZMA(b []byte) bool {
	return len(b) > nsisProps && b[0] == 0x5d && b[1] == 0 && b[2] == 0 && b[5] == 0
}

func nsisLZMA(b []byte) (io.Reader, error) {
	if binary.LittleEndian.Uint32(b[1:]) > nsisDict {
		return nil, &bound{ReasonUnsupported, "LZMA with a large dictionary"}
	}
	head := append(bytes.Clone(b[:nsisProps]), bytes.Repeat([]byte{0xff}, 8)...) // of unknown size
	dict := max(int(binary.LittleEndian.Uint32(b[1:])), lzma.MinDictCap)
	r, err := lzma.ReaderConfig{DictCap: dict}.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(b[nsisProps:])))
	if err != nil {
		return nil, fmt.Errorf("nsis: %w", err)
	}
	return r, nil
}
