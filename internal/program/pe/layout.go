package pe

import "encoding/binary"

// Layout is where the parts of a PE file lie that installers hide their payload in.
type Layout struct {
	Resources [2]int // the resource section, begin and end; equal when there is none
	End       int    // of the last section: what follows is no part of the program
}

const (
	fileHeader    = 24 // with the magic
	sectionHeader = 40
	maxSections   = 96 // the loader's own bound
)

// Lay reads the section table. Of what is no PE file the whole is the program: End is its length.
func Lay(data []byte) Layout {
	l := Layout{End: len(data)}
	if !isPE(data) {
		return l
	}
	at := int(binary.LittleEndian.Uint32(data[60:]))
	if at+fileHeader > len(data) {
		return l
	}
	count := int(binary.LittleEndian.Uint16(data[at+6:]))
	table := at + fileHeader + int(binary.LittleEndian.Uint16(data[at+20:]))
	end := 0
	for i := range min(count, maxSections) {
		h := table + i*sectionHeader
		if h+sectionHeader > len(data) {
			break
		}
		size, begin := uint64(binary.LittleEndian.Uint32(data[h+16:])), uint64(binary.LittleEndian.Uint32(data[h+20:]))
		if size == 0 || begin+size > uint64(len(data)) {
			continue
		}
		if string(data[h:h+6]) == ".rsrc\x00" {
			l.Resources = [2]int{int(begin), int(begin + size)}
		}
		end = max(end, int(begin+size))
	}
	if end > 0 {
		l.End = end
	}
	return l
}
