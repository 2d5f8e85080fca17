package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/elf"
	"github.com/chaperone-im/chaperone/internal/program/msi"
	"github.com/chaperone-im/chaperone/internal/program/pe"
)

// payload is an archive within a program: what an installer installs.
type payload struct {
	format program.Format // how it is opened; None when it is not
	data   []byte
	name   string // for people
}

// nsisFormat is how the payload of an NSIS installer is opened; no file is sniffed as it.
const nsisFormat program.Format = "nsis"

const (
	sevenZipHeader = 32
	cabinetHeader  = 36
	zipEnd         = 22
	maxZips        = 16 // archives in the resources of one program
)

// payloads finds archives behind the last section of a program and in its resources, by their headers and not by words alone: programs
// that read such archives hold the words too.
func payloads(format program.Format, data []byte) []payload {
	var behind, resources []byte
	switch format {
	case program.PE:
		l := pe.Lay(data)
		behind, resources = data[l.End:], data[l.Resources[0]:l.Resources[1]]
	case program.ELF:
		behind = data[elf.End(data):]
	default:
		return nil
	}
	var out []payload
	for _, find := range []func([]byte) []payload{nullsoft, inno, sevenZips, rars, cabinets, installerDatabases, squashed} {
		out = append(out, find(behind)...)
	}
	if !program.ZipTail(data) { // else the whole is opened as a zip
		out = append(out, zipBehind(data, behind)...)
	}
	return append(append(out, cabinets(resources)...), zips(resources)...)
}

// openPayloads takes apart what a program carries; one that cannot be does not keep the others back.
func (w *walker) openPayloads(inside string, found []payload, depth int) error {
	for _, p := range found {
		if err := w.memberError(inside, w.openPayload(inside, p, depth)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) openPayload(inside string, p payload, depth int) error {
	switch p.format {
	case nsisFormat:
		return w.nsis(inside, p.data, depth)
	case program.None:
		return &bound{ReasonUnsupported, p.name}
	case program.OLE:
		return w.member(inside, p.name, bytes.NewReader(p.data), depth)
	}
	return w.open(inside, p.format, p.data, depth)
}

// nullsoft finds the first header of an NSIS installer: flags, magic, "NullsoftInst", lengths.
func nullsoft(b []byte) []payload {
	data := nsisData(b)
	if data == nil {
		return nil
	}
	return []payload{{nsisFormat, data, "NSIS installer"}}
}

// inno finds the setup data of Inno Setup, whose first 64 bytes name its version, or the first chunk of its files.
func inno(b []byte) []payload {
	for _, magic := range []string{"Inno Setup Setup Data (", "idska32\x1a", "My Inno Setup Extensions Setup Data ("} {
		if bytes.Contains(b, []byte(magic)) {
			return []payload{{name: "Inno Setup installer: its payload is not opened"}}
		}
	}
	return nil
}

// sevenZips finds a 7z archive behind a self-extracting stub, by its start header with its checksum.
func sevenZips(b []byte) []payload {
	for at := range indices(b, "7z\xbc\xaf\x27\x1c") {
		h := b[at:]
		if len(h) < sevenZipHeader || crc32.ChecksumIEEE(h[12:32]) != binary.LittleEndian.Uint32(h[8:]) {
			continue
		}
		next, size := binary.LittleEndian.Uint64(h[12:]), binary.LittleEndian.Uint64(h[20:])
		if room := uint64(len(h) - sevenZipHeader); next <= room && size <= room-next {
			h = h[:sevenZipHeader+next+size]
		}
		return []payload{{program.SevenZip, h, "7z archive"}}
	}
	return nil
}

func rars(b []byte) []payload {
	for _, magic := range []string{"Rar!\x1a\x07\x00", "Rar!\x1a\x07\x01\x00"} {
		if at := bytes.Index(b, []byte(magic)); at >= 0 {
			return []payload{{program.RAR, b[at:], "rar archive"}}
		}
	}
	return nil
}

// cabinets finds cabinet files, as WiX bundles and IExpress carry them: three reserved words are zero, and the version is 1.3.
func cabinets(b []byte) []payload {
	var out []payload
	for at := range indices(b, "MSCF\x00\x00\x00\x00") {
		h := b[at:]
		if len(h) < cabinetHeader || binary.LittleEndian.Uint32(h[12:]) != 0 || binary.LittleEndian.Uint32(h[20:]) != 0 || h[24] != 3 || h[25] != 1 {
			continue
		}
		if size := binary.LittleEndian.Uint32(h[8:]); uint64(size) <= uint64(len(h)) {
			h = h[:size]
		}
		if out = append(out, payload{program.Cabinet, h, "cabinet"}); len(out) == maxZips {
			break
		}
	}
	return out
}

// installerDatabases finds an MSI that a program starts.
func installerDatabases(b []byte) []payload {
	at := bytes.Index(b, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"))
	if at < 0 {
		return nil
	}
	return []payload{{program.OLE, b[at:], "payload.msi"}}
}

// squashed finds a file system image right behind a program.
func squashed(b []byte) []payload {
	if !bytes.HasPrefix(b, []byte("hsqs")) {
		return nil
	}
	return []payload{{program.Squashfs, b, "squashfs"}}
}

// zips finds zip archives by their end records: what those say must lead to a directory and to a first member.
func zips(b []byte) []payload {
	var out []payload
	for at := range indices(b, "PK\x05\x06") {
		if at+zipEnd > len(b) {
			break
		}
		size, offset := uint64(binary.LittleEndian.Uint32(b[at+12:])), uint64(binary.LittleEndian.Uint32(b[at+16:]))
		if size+offset > uint64(at) {
			continue
		}
		directory, begin := at-int(size), at-int(size+offset)
		if !bytes.HasPrefix(b[directory:], []byte("PK\x01\x02")) || !bytes.HasPrefix(b[begin:], []byte("PK\x03\x04")) {
			continue
		}
		if out = append(out, payload{program.Zip, b[begin : at+zipEnd], "zip archive"}); len(out) == maxZips {
			break
		}
	}
	return out
}

// zipBehind finds a zip that is followed by something, as a signature is: offsets may count from the begin of the program.
func zipBehind(data, behind []byte) []payload {
	at := -1
	for found := range indices(behind, "PK\x05\x06") { // the last; bytes.LastIndex takes ten times as long
		at = found
	}
	if at < 0 || at+zipEnd > len(behind) {
		return nil
	}
	if size := uint64(binary.LittleEndian.Uint32(behind[at+12:])); size > uint64(at) || !bytes.HasPrefix(behind[uint64(at)-size:], []byte("PK\x01\x02")) {
		return nil
	}
	return []payload{{program.Zip, data[:len(data)-len(behind)+at+zipEnd], "zip archive"}}
}

// indices yields every place of magic in b.
func indices(b []byte, magic string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for from := 0; ; {
			at := bytes.Index(b[from:], []byte(magic))
			if at < 0 || !yield(from+at) {
				return
			}
			from += at + 1
		}
	}
}

// ole walks the streams of a compound file: an MSI carries cabinets and helper programs in them.
func (w *walker) ole(inside string, data []byte, depth int) error {
	err := msi.Streams(data, func(name string, r io.Reader, size int64) error {
		return w.memberError(w.join(inside, name), w.member(inside, name, w.metered(r, inside, int64(len(data))), depth))
	})
	if errors.Is(err, msi.ErrTooMany) || errors.Is(err, msi.ErrDirectory) {
		return &bound{ReasonUnsupported, fmt.Sprintf("compound file: %v", err)}
	}
	return err
}
