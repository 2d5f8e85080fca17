package squashfs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/chaperone-im/chaperone/internal/unpack/xzfile"
)

// Compressors.
const (
	byZlib = 1
	byLZO  = 3
	byXZ   = 4
	byLZ4  = 5
	byZstd = 6
)

func (i *Image) supported() bool {
	switch i.compress {
	case byZlib, byLZO, byXZ, byLZ4, byZstd:
		return true
	}
	return false
}

// decompress unpacks a block to at most limit bytes.
func (i *Image) decompress(in []byte, limit int) ([]byte, error) {
	var r io.Reader
	var err error
	switch i.compress {
	case byLZO:
		return unLZO(in, limit)
	case byLZ4:
		out := make([]byte, limit)
		n, err := lz4.UncompressBlock(in, out)
		if err != nil {
			return nil, fmt.Errorf("squashfs: %w", err)
		}
		return out[:n], nil
	case byZlib:
		r, err = zlib.NewReader(bytes.NewReader(in))
	case byXZ:
		r, err = xzfile.NewReader(bytes.NewReader(in), maxBlock)
	case byZstd:
		return i.unZstd(in, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("squashfs: %w", err)
	}
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("squashfs: %w", err)
	}
	if n > int64(limit) {
		return nil, ErrFormat
	}
	return out.Bytes(), nil
}

// unZstd unpacks with one decoder for all blocks: making one is slow.
func (i *Image) unZstd(in []byte, limit int) ([]byte, error) {
	if i.zstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBlock))
		if err != nil {
			return nil, fmt.Errorf("squashfs: %w", err)
		}
		i.zstd = z
	}
	out, err := i.zstd.DecodeAll(in, make([]byte, 0, limit))
	if err != nil {
		return nil, fmt.Errorf("squashfs: %w", err)
	}
	if len(out) > limit {
		return nil, ErrFormat
	}
	return out, nil
}

// metaReader reads on over the borders of blocks of metadata.
type metaReader struct {
	image *Image
	body  []byte
	next  uint64
}

// metaAt begins to read at a place in the block that begins at begin.
func (i *Image) metaAt(begin uint64, offset int) (*metaReader, error) {
	b, err := i.metaBlock(begin)
	if err != nil {
		return nil, err
	}
	if offset > len(b.body) {
		return nil, ErrFormat
	}
	return &metaReader{i, b.body[offset:], b.next}, nil
}

// bytes returns the next n, nil when there are fewer.
func (r *metaReader) bytes(n int) []byte {
	if n <= len(r.body) {
		out := r.body[:n]
		r.body = r.body[n:]
		return out
	}
	var out []byte
	for len(out) < n {
		if len(r.body) == 0 {
			b, err := r.image.metaBlock(r.next)
			if err != nil || len(b.body) == 0 {
				return nil
			}
			r.body, r.next = b.body, b.next
		}
		part := r.body[:min(n-len(out), len(r.body))]
		out, r.body = append(out, part...), r.body[len(part):]
	}
	return out
}

var errMeta = errors.New("squashfs: metadata lie outside of the image")

// metaBlock unpacks the block that begins at a place.
func (i *Image) metaBlock(begin uint64) (metaBlock, error) {
	if b, ok := i.meta[begin]; ok {
		return b, nil
	}
	if begin >= uint64(len(i.data)) || begin+2 > uint64(len(i.data)) {
		return metaBlock{}, errMeta
	}
	size := binary.LittleEndian.Uint16(i.data[begin:])
	end := begin + 2 + uint64(size&^storedMeta)
	if end > uint64(len(i.data)) {
		return metaBlock{}, errMeta
	}
	b := metaBlock{i.data[begin+2 : end], end}
	if size&storedMeta == 0 {
		body, err := i.decompress(b.body, metaSize)
		if err != nil {
			return metaBlock{}, err
		}
		b.body = body
	}
	if len(i.meta) >= maxCached {
		clear(i.meta)
	}
	i.meta[begin] = b
	return b, nil
}
