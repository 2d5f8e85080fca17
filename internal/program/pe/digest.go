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

// digest hashes a program as Authenticode does: all but the checksum, the place of the certificate table and that table, which is the end.
func digest(data []byte, h crypto.Hash) ([]byte, error) {
	optional := uint64(binary.LittleEndian.Uint32(data[60:])) + fileHeader // isPE has looked that far
	if optional+2 > uint64(len(data)) {
		return nil, ErrNotPE
	}
	entry := optional + directories32 + security
	if binary.LittleEndian.Uint16(data[optional:]) == magic64 {
		entry = optional + directories64 + security
	}
	if entry+8 > uint64(len(data)) {
		return nil, ErrNotPE
	}
	begin, size := uint64(binary.LittleEndian.Uint32(data[entry:])), uint64(binary.LittleEndian.Uint32(data[entry+4:]))
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
