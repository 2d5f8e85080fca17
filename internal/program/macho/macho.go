// Package macho reads the code signature of a macOS program: signing identifier and team identifier, of the first architecture that has one.
//
// The signature is a "super blob" of big-endian blobs; the code directory in it holds offsets to both texts (cs_blobs.h of XNU).
package macho

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/program"
)

const (
	loadCodeSignature = 0x1d
	magicSuperBlob    = 0xfade0cc0
	magicDirectory    = 0xfade0c02
	versionWithTeam   = 0x20200
	maxBlobs          = 64
	maxArchitectures  = 16
)

// Parse reads a Mach-O file, thin or universal.
func Parse(data []byte) (id program.Identity, err error) {
	id = program.Identity{Format: program.MachO, Kind: program.Client}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("macho: %v", p)
		}
	}()
	if len(data) >= 4 && binary.BigEndian.Uint32(data)&^1 == 0xcafebabe {
		return id, parseFat(data, &id)
	}
	return id, parseThin(data, &id)
}

// parseFat reads the architectures of a universal binary until one has a signature.
func parseFat(data []byte, id *program.Identity) error {
	f, err := macho.NewFatFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("macho: %w", err)
	}
	for _, a := range f.Arches[:min(len(f.Arches), maxArchitectures)] {
		end := uint64(a.Offset) + uint64(a.Size)
		if end > uint64(len(data)) {
			return errors.New("macho: an architecture is cut off")
		}
		if err := parseThin(data[a.Offset:end], id); err != nil {
			return err
		}
		if id.Bundle != "" {
			return nil
		}
	}
	return nil
}

func parseThin(data []byte, id *program.Identity) error {
	f, err := macho.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("macho: %w", err)
	}
	if f.Type == macho.TypeDylib || f.Type == macho.TypeBundle {
		id.Kind = program.Library
	}
	for _, load := range f.Loads {
		raw := load.Raw()
		if len(raw) < 16 || f.ByteOrder.Uint32(raw) != loadCodeSignature {
			continue
		}
		at, size := uint64(f.ByteOrder.Uint32(raw[8:])), uint64(f.ByteOrder.Uint32(raw[12:]))
		if at+size > uint64(len(data)) {
			return errors.New("macho: signature is cut off")
		}
		return signature(data[at:at+size], id)
	}
	return nil
}

func signature(blob []byte, id *program.Identity) error {
	if len(blob) < 12 || binary.BigEndian.Uint32(blob) != magicSuperBlob {
		return errors.New("macho: no signature where one should be")
	}
	count := min(binary.BigEndian.Uint32(blob[8:]), maxBlobs)
	for i := range int(count) {
		entry := 12 + 8*i
		if entry+8 > len(blob) {
			break
		}
		at := binary.BigEndian.Uint32(blob[entry+4:])
		if uint64(at)+52 > uint64(len(blob)) || binary.BigEndian.Uint32(blob[at:]) != magicDirectory {
			continue
		}
		directory := blob[at:]
		id.Bundle = textAt(directory, 20)
		if binary.BigEndian.Uint32(directory[8:]) >= versionWithTeam {
			id.Team = textAt(directory, 48)
		}
		return nil
	}
	return nil
}

// textAt reads the zero-terminated text whose offset stands at position.
func textAt(b []byte, position int) string {
	at := uint64(binary.BigEndian.Uint32(b[position:]))
	if at == 0 || at >= uint64(len(b)) {
		return ""
	}
	text, _, _ := bytes.Cut(b[at:min(at+256, uint64(len(b)))], []byte{0})
	return program.Text(string(text))
}
