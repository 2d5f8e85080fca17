package pe

import (
	"crypto"
	"encoding/binary"
	"errors"
)

var errBehind = errors.New("bytes follow the signature: the file is not the one that was signed")

// Places in the optional header, from its begin.
const (
	checksumAt    = 64
	directories32 = 96
	directories64 = 112
	security      = 4 * 8 // the directory of the certificate table
	magic64       = 0x20b
)

var errOutside = errors.New("the place of the signature lies outside")

// signature returns where the certificate table is said to be, and the first signature in it, which holds all others; nil when there is none.
func signature(data []byte) ([]byte, error) {
	_, begin, size, err := certificates(data)
	if err != nil || begin == 0 || size == 0 {
		return nil, nil
	}
	const header = 8 // length, revision, type
	if begin+header > uint64(len(data)) {
		return nil, errOutside
	}
	length := uint64(binary.LittleEndian.Uint32(data[begin:]))
	if length < header || length > size || begin+length > uint64(len(data)) {
		return nil, errOutside
	}
	return data[begin+header : begin+length], nil
}

// digest hashes a program as Authenticode does: all but the checksum, the place of the certificate table and that table, which is the end.
func digest(data []byte, h crypto.Hash) ([]byte, error) {
	entry, begin, size, err := certificates(data)
	if err != nil {
		return nil, err
	}
	optional := uint64(binary.LittleEndian.Uint32(data[60:])) + fileHeader
	if begin < entry+8 || begin+size > uint64(len(data)) {
		return nil, ErrNotPE
	}
	if begin+size != uint64(len(data)) {
		return nil, errBehind
	}
	x := h.New()
	x.Write(data[:optional+checksumAt])
	x.Write(data[optional+checksumAt+4 : entry])
	x.Write(data[entry+8 : begin])
	return x.Sum(nil), nil
}

// certificates returns the place of the directory entry of the certificate table, and what it says: begin and size.
func certificates(data []byte) (entry, begin, size uint64, err error) {
	optional := uint64(binary.LittleEndian.Uint32(data[60:])) + fileHeader // isPE has looked that far
	if optional+2 > uint64(len(data)) {
		return 0, 0, 0, ErrNotPE
	}
	entry = optional + directories32 + security
	if binary.LittleEndian.Uint16(data[optional:]) == magic64 {
		entry = optional + directories64 + security
	}
	if entry+8 > uint64(len(data)) {
		return 0, 0, 0, ErrNotPE
	}
	return entry, uint64(binary.LittleEndian.Uint32(data[entry:])), uint64(binary.LittleEndian.Uint32(data[entry+4:])), nil
}
