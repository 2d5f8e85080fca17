package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/bodgit/sevenzip"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/nwaples/rardecode/v2"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/unpack/seven"
	"github.com/chaperone-im/chaperone/internal/unpack/xzfile"
)

const (
	maxWindow     = 128 << 20 // bounds the memory of a decompressor
	maxSevenFiles = 400_000
)

// zip walks a zip archive; appended means that it may follow a program, and then may be none at all.
func (w *walker) zip(inside string, data []byte, depth int, appended bool) error {
	list, err := openZips(data)
	if err != nil {
		if appended && !program.ZipTail(data) {
			return nil
		}
		return err
	}
	for _, z := range list {
		if err := w.zipMembers(inside, z, data, depth); err != nil {
			return err
		}
	}
	return nil
}

// openZips opens the zip archive that ends with data, and the one that begins with it when that is another: readers differ in which of the two
// they open, and some take no offence at what lies behind.
func openZips(data []byte) ([]*zip.Reader, error) {
	var list []*zip.Reader
	last, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err == nil {
		list = append(list, last)
	}
	if first := firstZip(data); first != nil {
		if z, err := zip.NewReader(bytes.NewReader(first), int64(len(first))); err == nil {
			list = append(list, z)
		}
	}
	if len(list) == 0 {
		return nil, err
	}
	return list, nil
}

// firstZip is the archive that data begins with, when that is not all of it.
func firstZip(data []byte) []byte {
	if !bytes.HasPrefix(data, []byte("PK\x03\x04")) {
		return nil
	}
	for at := range indices(data, "PK\x05\x06") {
		if at+zipEnd > len(data) {
			break
		}
		size, offset := uint64(binary.LittleEndian.Uint32(data[at+12:])), uint64(binary.LittleEndian.Uint32(data[at+16:]))
		end := at + zipEnd + int(binary.LittleEndian.Uint16(data[at+20:]))
		if size+offset != uint64(at) || !bytes.HasPrefix(data[offset:], []byte("PK\x01\x02")) {
			continue
		}
		if end >= len(data) {
			return nil
		}
		return data[:end]
	}
	return nil
}

func (w *walker) zipMembers(inside string, z *zip.Reader, data []byte, depth int) error {
	var packed uint64
	for _, f := range z.File {
		if packed += f.CompressedSize64; packed > uint64(len(data)) {
			return &bound{event.ReasonBomb, "members overlap"}
		}
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if err := w.zipMember(inside, f, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) zipMember(inside string, f *zip.File, depth int) error {
	name := w.join(inside, f.Name)
	if f.Flags&1 != 0 {
		w.visitor.Fail(name, event.ReasonEncrypted, "")
		return w.count(inside)
	}
	if f.UncompressedSize64 > ratioFloor && f.UncompressedSize64/max(f.CompressedSize64, 1) > uint64(w.limits.Ratio) {
		w.visitor.Fail(name, event.ReasonBomb, fmt.Sprintf("unpacks to more than %d times its size", w.limits.Ratio))
		return w.count(inside)
	}
	r, err := f.Open()
	if errors.Is(err, zip.ErrAlgorithm) {
		w.visitor.Fail(name, ReasonUnsupported, fmt.Sprintf("zip method %d", f.Method))
		return w.count(inside)
	}
	if err == nil {
		err = w.member(inside, f.Name, w.metered(r, inside, int64(f.CompressedSize64)), depth)
		_ = r.Close() // an error here is one of reading on, which is not wanted
	}
	return w.memberError(name, err)
}

// memberError keeps a broken member from ending its whole container.
func (w *walker) memberError(name string, err error) error {
	var b *bound
	switch {
	case err == nil, errors.Is(err, errStop), w.ctx.Err() != nil:
		return err
	case errors.As(err, &b):
		w.visitor.Fail(name, b.reason, b.detail)
	case errors.Is(err, xzfile.ErrDictionary), errors.Is(err, xzfile.ErrUnsupported):
		w.visitor.Fail(name, ReasonUnsupported, program.Text(err.Error()))
	default:
		w.visitor.Fail(name, event.ReasonUnparseable, program.Text(err.Error()))
	}
	return nil
}

func (w *walker) tar(inside string, r io.Reader, depth int) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			if err := w.count(inside); err != nil {
				return err
			}
			continue
		}
		if err := w.member(inside, h.Name, t, depth); err != nil {
			return err
		}
	}
}

// compressed opens a compressed file: a tar inside is walked as part of the same level, anything else is one member.
func (w *walker) compressed(inside string, format program.Format, data []byte, depth int) error {
	r, name, err := decompressor(format, bytes.NewReader(data))
	if format == program.Pbzx {
		r, name, err = io.NopCloser(newPbzx(data)), "content", nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	m := complete{w.metered(r, inside, int64(len(data)))}
	head := make([]byte, program.HeadSize)
	n, err := io.ReadFull(m, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	all := io.MultiReader(bytes.NewReader(head[:n]), m)
	if program.Sniff(head[:n]) == program.Tar {
		return w.tar(inside, all, depth)
	}
	return w.member(inside, name, all, depth)
}

// decompressor opens a compressed stream, and tells the name that it gives to its content.
func decompressor(format program.Format, r io.Reader) (io.ReadCloser, string, error) {
	const unnamed = "content"
	switch format {
	case program.Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, "", err
		}
		if z.Name != "" {
			return z, path.Base(z.Name), nil
		}
		return z, unnamed, nil
	case program.Bzip2:
		return io.NopCloser(bzip2.NewReader(r)), unnamed, nil
	case program.XZ:
		x, err := xzfile.NewReader(r, maxWindow)
		if err != nil {
			return nil, "", err
		}
		return io.NopCloser(x), unnamed, nil
	case program.Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, "", err
		}
		return z.IOReadCloser(), unnamed, nil
	default:
		return nil, "", &bound{ReasonUnsupported, string(format)}
	}
}

func (w *walker) sevenZip(inside string, data []byte, depth int) error {
	z, err := seven.Open(data, maxSevenFiles)
	if err != nil {
		return sevenZipError(err)
	}
	var out uint64
	for _, f := range z.File {
		if out += f.UncompressedSize; out > ratioFloor && out/uint64(len(data)) > uint64(w.limits.Ratio) {
			return &bound{event.ReasonBomb, fmt.Sprintf("unpacks to more than %d times its size", w.limits.Ratio)}
		}
		if f.FileInfo().IsDir() {
			continue
		}
		if err := w.memberError(w.join(inside, f.Name), sevenZipError(w.sevenZipMember(inside, f, int64(len(data)), depth))); err != nil {
			return err
		}
	}
	return nil
}

// sevenZipMember looks at one member. A panic of the library, which trusts what a header says of streams, is this member's error.
func (w *walker) sevenZipMember(inside string, f *sevenzip.File, size int64, depth int) (err error) {
	live := w.live
	defer func() {
		if p := recover(); p != nil {
			w.live, err = live, fmt.Errorf("7z: %v", p)
		}
	}()
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close() // an error here is one of reading on, which is not wanted
	return w.member(inside, f.Name, &exactly{w.metered(r, inside, size), int64(min(f.UncompressedSize, 1<<62))}, depth)
}

// sevenZipError tells encryption and bounds from damage.
func sevenZipError(err error) error {
	switch {
	case errors.Is(err, seven.ErrLocked):
		return &bound{event.ReasonEncrypted, ""}
	case errors.Is(err, seven.ErrMemory), errors.Is(err, seven.ErrUnsupported):
		return &bound{ReasonUnsupported, err.Error()}
	case errors.Is(err, seven.ErrTooMany):
		return &bound{event.ReasonBomb, err.Error()}
	}
	return err
}

func (w *walker) rar(inside string, data []byte, depth int) error {
	z, err := rardecode.NewReader(bytes.NewReader(data), rardecode.MaxDictionarySize(maxWindow))
	if err != nil {
		return rarError(err)
	}
	m := w.metered(z, inside, int64(len(data)))
	for {
		h, err := z.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return rarError(err)
		}
		switch {
		case h.IsDir:
		case h.Encrypted:
			w.visitor.Fail(w.join(inside, h.Name), event.ReasonEncrypted, "")
		default:
			if err := w.member(inside, h.Name, m, depth); err != nil {
				return rarError(err)
			}
		}
	}
}

func rarError(err error) error {
	if errors.Is(err, rardecode.ErrArchiveEncrypted) || errors.Is(err, rardecode.ErrArchivedFileEncrypted) {
		return &bound{event.ReasonEncrypted, ""}
	}
	return err
}
