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
	id.BuildID = buildID(section(f, ".note.gnu.build-id"), f.ByteOrder)
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

func buildID(note []byte, order binary.ByteOrder) string {
	if len(note) < 16 {
		return ""
	}
	name, size := order.Uint32(note), order.Uint32(note[4:])
	if name != 4 || size > 64 || 16+int(size) > len(note) {
		return ""
	}
	return hex.EncodeToString(note[16 : 16+size])
}

// updateName takes the repository out of an AppImage's update information, e.g. "gh-releases-zsync|owner|Name|latest|Name*.zsync".
func updateName(info []byte) string {
	parts := strings.Split(strings.TrimRight(string(info), "\x00"), "|")
	if len(parts) >= 3 && strings.HasPrefix(parts[0], "gh-releases") {
		return program.Text(parts[2])
	}
	return ""
}
