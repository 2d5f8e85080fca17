package elf

import (
	"bytes"
	"debug/elf"
)

// End returns where an ELF file ends by its own tables: what follows was appended, as self-extracting archives are. Of what cannot be read
// it is the length of data.
func End(data []byte) (end int) {
	defer func() {
		if p := recover(); p != nil {
			end = len(data)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return len(data)
	}
	last := tableEnd(data, f)
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS {
			last = within(last, s.Offset, s.FileSize, len(data))
		}
	}
	for _, p := range f.Progs {
		last = within(last, p.Off, p.Filesz, len(data))
	}
	if last == 0 {
		return len(data)
	}
	return int(last)
}

// within returns the greater of last and the end of a part, as far as that lies in the file.
func within(last, begin, size uint64, length int) uint64 {
	if begin > uint64(length) || size > uint64(length)-begin {
		return last
	}
	return max(last, begin+size)
}

// tableEnd is the end of the section header table, which usually is the last part.
func tableEnd(data []byte, f *elf.File) uint64 {
	order := f.ByteOrder
	if f.Class == elf.ELFCLASS64 && len(data) >= 64 {
		return within(0, order.Uint64(data[40:]), uint64(order.Uint16(data[58:]))*uint64(order.Uint16(data[60:])), len(data))
	}
	if f.Class == elf.ELFCLASS32 && len(data) >= 52 {
		return within(0, uint64(order.Uint32(data[32:])), uint64(order.Uint16(data[46:]))*uint64(order.Uint16(data[48:])), len(data))
	}
	return 0
}
