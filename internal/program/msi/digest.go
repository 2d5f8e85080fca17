package msi

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/richardlehane/mscfb"
)

// entry is a stream, and what it is sorted by: its whole name as it is stored.
type entry struct {
	key  []byte
	file *mscfb.File
}

// ErrMetadata says that the signature covers names and times too (MsiDigitalSignatureEx), which are not checked.
var ErrMetadata = errors.New("the signature covers names and times too, which are not checked")

// digest hashes an installer database as its signature takes it: the streams in the order of their names, without the signature, and the class
// of the root. Databases have no storages within; one that has is not checked.
func digest(data []byte, h crypto.Hash) ([]byte, error) {
	doc, err := open(data)
	if err != nil {
		return nil, err
	}
	var streams []entry
	for range maxStreams {
		f, err := doc.Next()
		if errors.Is(err, io.EOF) {
			return hashStreams(streams, doc.ID(), h)
		}
		if err != nil {
			return nil, fmt.Errorf("msi: %w", err)
		}
		switch {
		case f.FileInfo().IsDir() || len(f.Path) > 0:
			return nil, errors.New("a storage within the database is not checked")
		case f.Name == signatureStream && f.Initial < 0x20:
			continue
		case f.Name == signatureStream+"Ex" || f.Name == "MsiDigitalSignatureEx":
			return nil, ErrMetadata
		}
		streams = append(streams, entry{key: rawName(f), file: f})
	}
	return nil, ErrTooMany
}

// rawName returns the name in UTF-16LE, with the control character that the library cuts off.
func rawName(f *mscfb.File) []byte {
	units := utf16.Encode([]rune(f.Name))
	if f.Initial < 0x20 {
		units = append([]uint16{f.Initial}, units...)
	}
	var b []byte
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func hashStreams(streams []entry, class string, h crypto.Hash) ([]byte, error) {
	slices.SortFunc(streams, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	x := h.New()
	for _, s := range streams {
		if _, err := io.Copy(x, s.file); err != nil {
			return nil, fmt.Errorf("msi: %w", err)
		}
	}
	id, err := guid(class)
	if err != nil {
		return nil, err
	}
	x.Write(id)
	return x.Sum(nil), nil
}

// guid encodes a class as it is stored: the first three groups in little endian.
func guid(text string) ([]byte, error) {
	var a uint32
	var b, c uint16
	var d, e uint64
	if _, err := fmt.Sscanf(strings.Trim(strings.ToLower(text), "{}"), "%08x-%04x-%04x-%04x-%012x", &a, &b, &c, &d, &e); err != nil {
		return nil, fmt.Errorf("msi: class %q: %w", text, err)
	}
	out := binary.LittleEndian.AppendUint32(nil, a)
	out = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, b), c)
	out = binary.BigEndian.AppendUint16(out, uint16(d))
	return append(out, binary.BigEndian.AppendUint64(nil, e)[2:]...), nil
}
