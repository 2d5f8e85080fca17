package msi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/richardlehane/mscfb"
)

// Bounds of a compound file's directory: the library keeps every entry, and for each storage a list of all those above it.
const (
	maxEntries  = 100_000
	maxStorages = 2000
)

// ErrDirectory says that a compound file holds more than is looked at.
var ErrDirectory = errors.New("compound file with more entries or storages than are looked at")

// open opens a compound file whose directory is bounded.
func open(data []byte) (*mscfb.Reader, error) {
	if entries, storages := directory(data); entries > maxEntries || storages > maxStorages {
		return nil, ErrDirectory
	}
	doc, err := mscfb.New(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("msi: %w", err)
	}
	return doc, nil
}

// Places in the header and in entries of the directory ([MS-CFB] 2.2 and 2.6.1).
const (
	sectorShift  = 30
	directoryAt  = 48
	difatAt      = 68
	difatCount   = 72
	firstDifat   = 76
	inHeader     = 109
	entrySize    = 128
	childAt      = 76
	noStream     = 0xffffffff
	endOfChain   = 0xfffffffe
	headerLength = 512
)

// sectors are those of a compound file.
type sectors struct {
	data []byte
	size int64
	fat  []uint32 // where the parts of the table of chains are
}

// directory counts the entries of the directory, and those that have others below them; both stop a little above their bounds. Of a file that is
// broken they count what there is: the library gets no further.
func directory(data []byte) (entries, storages int) {
	if len(data) < headerLength {
		return 0, 0
	}
	shift := binary.LittleEndian.Uint16(data[sectorShift:])
	if shift != 9 && shift != 12 {
		return 0, 0
	}
	s := &sectors{data: data, size: 1 << shift}
	s.table()
	n, ok := binary.LittleEndian.Uint32(data[directoryAt:]), true
	for ok && n != endOfChain {
		sector := s.at(n)
		if sector == nil {
			break
		}
		for e := 0; e+entrySize <= len(sector); e += entrySize {
			if entries++; binary.LittleEndian.Uint32(sector[e+childAt:]) != noStream {
				storages++
			}
		}
		if entries > maxEntries || storages > maxStorages {
			return entries, storages
		}
		n, ok = s.next(n)
	}
	return entries, storages
}

// at returns a sector, nil when it is not there. The highest number is the header, by an overflow that the library has too.
func (s *sectors) at(n uint32) []byte {
	begin := int64(n+1) * s.size
	if begin+s.size > int64(len(s.data)) {
		return nil
	}
	return s.data[begin : begin+s.size]
}

// table reads where the table of chains is: the header says it of the first parts, sectors in a chain of their own of the others.
func (s *sectors) table() {
	le := binary.LittleEndian
	for i := range inHeader {
		s.fat = append(s.fat, le.Uint32(s.data[firstDifat+4*i:]))
	}
	next, count := le.Uint32(s.data[difatAt:]), int64(le.Uint32(s.data[difatCount:]))
	for range min(count, int64(len(s.data))/s.size) { // more there cannot be
		sector := s.at(next)
		if sector == nil {
			return
		}
		for ; len(sector) > 4; sector = sector[4:] {
			s.fat = append(s.fat, le.Uint32(sector))
		}
		next = le.Uint32(sector)
	}
}

// next returns the sector behind another in its chain.
func (s *sectors) next(n uint32) (uint32, bool) {
	perPart := uint32(s.size / 4)
	if int64(n/perPart) >= int64(len(s.fat)) {
		return 0, false
	}
	at := int64(s.fat[n/perPart]+1)*s.size + 4*int64(n%perPart)
	if at+4 > int64(len(s.data)) {
		return 0, false
	}
	return binary.LittleEndian.Uint32(s.data[at:]), true
}
