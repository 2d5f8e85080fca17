// Package seven opens 7z archives with bounds on the memory that they ask for.
//
// The library that reads them makes lists as long as a header says, up to four thousand million entries, and dictionaries as large as an archive
// wants, up to 4 GiB. Here the header is walked first: no list may be longer than the bytes that it is read from, and there may not be more
// files than are wanted. The methods that take memory are replaced by bounded ones, and the one that encrypts says so.
package seven

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/bodgit/sevenzip"
)

// Errors of the package.
var (
	ErrFormat      = errors.New("7z: broken archive")
	ErrLocked      = errors.New("7z: encrypted")
	ErrMemory      = errors.New("7z: it wants more memory than is given")
	ErrTooMany     = errors.New("7z: more files than are looked at")
	ErrUnsupported = errors.New("7z: a header that is packed in an unusual way")
)

const (
	signature  = "7z\xbc\xaf\x27\x1c"
	headerSize = 32
	maxHeader  = 64 << 20 // unpacked
)

// Open opens an archive of at most files files. Errors that reading its members ends in may be of this package too.
func Open(data []byte, files int) (z *sevenzip.Reader, err error) {
	header, err := headerOf(data)
	if err == nil {
		err = check(header, data, files)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil { // the library trusts that the parts of a header are about the same files
			z, err = nil, fmt.Errorf("%w: its lists do not fit", ErrFormat)
		}
	}()
	replaceMethods()
	z, err = sevenzip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("7z: %w", err)
	}
	return z, nil
}

// headerOf returns the header that the start of an archive leads to. The library would search for another start when this one is damaged.
func headerOf(data []byte) ([]byte, error) {
	if len(data) < headerSize || string(data[:len(signature)]) != signature || crc32.ChecksumIEEE(data[12:headerSize]) != binary.LittleEndian.Uint32(data[8:]) {
		return nil, fmt.Errorf("%w: its start", ErrFormat)
	}
	at, size := binary.LittleEndian.Uint64(data[12:]), binary.LittleEndian.Uint64(data[20:])
	if room := uint64(len(data) - headerSize); at > room || size > room-at {
		return nil, fmt.Errorf("%w: cut off", ErrFormat)
	}
	return data[headerSize+at : headerSize+at+size], nil
}

// check walks a header, unpacking it first if need be.
func check(header, data []byte, files int) error {
	w := &walk{rest: header}
	switch kind := w.byte(); kind {
	case idHeader:
		w.header(files)
		return w.err
	case idEncodedHeader:
		s := w.streams()
		if w.err != nil {
			return w.err
		}
		plain, err := s.unpack(data[headerSize:])
		if err != nil {
			return err
		}
		w = &walk{rest: plain}
		if w.byte() != idHeader {
			return fmt.Errorf("%w: its header", ErrFormat)
		}
		w.header(files)
		return w.err
	default:
		return fmt.Errorf("%w: its header", ErrFormat)
	}
}

// unpack unpacks a header: one stream by one method, as all packers make it.
func (s *streams) unpack(packed []byte) ([]byte, error) {
	if len(s.folders) != 1 || len(s.packed) == 0 {
		return nil, ErrUnsupported
	}
	f := s.folders[0]
	for _, c := range f.coders {
		if c.id == methodAES {
			return nil, ErrLocked
		}
	}
	if len(f.coders) != 1 || len(f.sizes) != 1 {
		return nil, ErrUnsupported
	}
	c, size := f.coders[0], f.sizes[0]
	if s.position > uint64(len(packed)) || s.packed[0] > uint64(len(packed))-s.position {
		return nil, fmt.Errorf("%w: cut off", ErrFormat)
	}
	if size > maxHeader {
		return nil, fmt.Errorf("%w: a header of %d MiB", ErrMemory, size>>20)
	}
	in := []io.ReadCloser{io.NopCloser(bytes.NewReader(packed[s.position : s.position+s.packed[0]]))}
	r := in[0]
	if c.id != methodCopy {
		method, ok := methods()[c.id]
		if !ok {
			return nil, ErrUnsupported
		}
		var err error
		if r, err = method(c.properties, size, in); err != nil {
			return nil, err
		}
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return nil, fmt.Errorf("7z: header: %w", err)
	}
	return plain, nil
}
