// Package elf reads what a Linux program says about itself: build id, soname, needed libraries, and the update address of an AppImage.
package elf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
)

const (
	maxNeeded  = 64
	maxSection = 1 << 20
)

// Parse reads an ELF file, AppImages included.
func Parse(data []byte, format program.Format) (id program.Identity, err error) {
	id = program.Identity{Format: format, Kind: program.Client}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("elf: %v", p)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return id, fmt.Errorf("elf: %w", err)
	}
	id.BuildID = buildID(f)
	if names, err := f.DynString(elf.DT_SONAME); err == nil && len(names) > 0 {
		id.Binary = program.Text(names[0])
		id.Kind = program.Library
	}
	if names, err := f.DynString(elf.DT_NEEDED); err == nil {
		for _, n := range names[:min(len(names), maxNeeded)] {
			id.Needed = append(id.Needed, program.Text(n))
		}
	}
	if f.Type == elf.ET_REL {
		id.Kind = program.Library
	}
	if format == program.AppImage {
		id.Kind = program.Package
		id.Product = updateName(section(f, ".upd_info"))
	}
	return id, nil
}

func section(f *elf.File, name string) []byte {
	s := f.Section(name)
	if s == nil || s.Size > maxSection {
		return nil
	}
	b, err := s.Data()
	if err != nil {
		return nil
	}
	return b
}

// buildID finds the build id in the section of its name, else, since a program starts without sections, in what is loaded of it.
func buildID(f *elf.File) string {
	if id := noted(section(f, ".note.gnu.build-id"), 4, f.ByteOrder); id != "" {
		return id
	}
	seen := 0
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > maxSection {
			continue
		}
		if seen++; seen > maxNotes {
			break
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			continue
		}
		if id := noted(b, p.Align, f.ByteOrder); id != "" {
			return id
		}
	}
	return ""
}

const (
	maxNotes  = 16 // segments of notes: programs have two
	noteHead  = 12
	gnuBuild  = 3 // NT_GNU_BUILD_ID
	maxBuild  = 64
	gnuVendor = "GNU\x00"
)

// noted returns the build id in a list of notes (elf(5)), each padded to align bytes.
func noted(notes []byte, align uint64, order binary.ByteOrder) string {
	if align != 8 {
		align = 4
	}
	padded := func(n uint64) uint64 { return (n + align - 1) / align * align }
	for len(notes) >= noteHead {
		name, size, kind := order.Uint32(notes), order.Uint32(notes[4:]), order.Uint32(notes[8:])
		notes = notes[noteHead:]
		begin := padded(noteHead+uint64(name)) - noteHead
		if begin > uint64(len(notes)) || uint64(size) > uint64(len(notes))-begin {
			return ""
		}
		if kind == gnuBuild && size <= maxBuild && name == 4 && string(notes[:4]) == gnuVendor {
			return hex.EncodeToString(notes[begin : begin+uint64(size)])
		}
		notes = notes[min(begin+padded(uint64(size)), uint64(len(notes))):]
	}
	return ""
}

// updateName takes the repository out of an AppImage's update information, e.g. "gh-releases-zsync|owner|Name|latest|Name*.zsync".
func updateName(info []byte) string {
	parts := strings.Split(strings.TrimRight(string(info), "\x00"), "|")
	if len(parts) >= 3 && strings.HasPrefix(parts[0], "gh-releases") {
		return program.Text(parts[2])
	}
	return ""
}
