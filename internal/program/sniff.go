package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
)

// HeadSize is how many bytes of a file Sniff wants to see.
const HeadSize = 4096

// Headers of cpio: all of it digits, hexadecimal or octal.
const (
	cpioHeader = 110
	cpioOld    = 76
)

// TailSize is how many bytes at the end of a file show a zip that is appended to something else (its end record without a comment).
const TailSize = 22

// DMGTailSize is how many bytes at the end of a file show a macOS disk image.
const DMGTailSize = 512

// magics are the formats that announce themselves in their first bytes.
func magics() []struct {
	magic  string
	format Format
} {
	return []struct {
		magic  string
		format Format
	}{
		{"\x7fELF", ELF},
		{"PK\x03\x04", Zip}, {"PK\x05\x06", Zip}, {"PK\x07\x08", Zip},
		{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE},
		{"!<arch>\n", AR},
		{"\xed\xab\xee\xdb", RPM},
		{"\x1f\x8b\x08", Gzip},
		{"BZh", Bzip2},
		{"\xfd7zXZ\x00", XZ},
		{"\x28\xb5\x2f\xfd", Zstd},
		{"7z\xbc\xaf\x27\x1c", SevenZip},
		{"Rar!\x1a\x07", RAR},
		{"MSCF\x00\x00\x00\x00", Cabinet},
		{"hsqs", Squashfs},
		{"070701", CPIO}, {"070702", CPIO}, {"070707", CPIO},
		{"pbzx\x00\x00\x00\x00", Pbzx},
		{"xar!\x00\x1c", XAR},
		{"MSWIM\x00\x00\x00", WIM},
		{"\x04\x22\x4d\x18", LZ4},
		{"LZIP\x01", Lzip},
		{"\x1f\x9d\x90", Compress},
		{"ISc(", InstallShield},
		{"encrcdsa", DMG}, // encrypted
		{"bplist0", Bundle},
		{"\xfe\xed\xfa\xce", MachO}, {"\xfe\xed\xfa\xcf", MachO}, {"\xce\xfa\xed\xfe", MachO}, {"\xcf\xfa\xed\xfe", MachO},
	}
}

// Sniff tells the format from the first bytes of a file.
func Sniff(head []byte) Format {
	if len(head) < 4 {
		return None
	}
	for _, m := range magics() {
		if len(head) >= len(m.magic) && string(head[:len(m.magic)]) == m.magic {
			return refine(m.format, head)
		}
	}
	switch {
	case head[0] == 'M' && head[1] == 'Z':
		return sniffMZ(head)
	case binary.BigEndian.Uint32(head) == 0xcafebabe || binary.BigEndian.Uint32(head) == 0xcafebabf:
		return sniffFat(head)
	case len(head) >= 265 && string(head[257:262]) == "ustar" && isTar(head[:min(len(head), tarBlock)]):
		return Tar
	case len(head) > 25 && binary.LittleEndian.Uint32(head) == 4 && bytes.HasPrefix(head[16:], []byte(`{"files":`)):
		return ASAR
	case len(head) > 20 && string(head[2:5]) == "-lh" && head[6] == '-':
		return LHA
	case len(head) > 13 && string(head[7:14]) == "**ACE**":
		return ACE
	}
	return sniffText(head)
}

const tarBlock = 512 // a tar header

// isTar tells a tar header from a text that speaks of tar: its sum is right, or it has bytes that no text has. A damaged header is one still, since
// programs that read tar skip it and go on.
func isTar(header []byte) bool {
	return !isText(header) || len(header) == tarBlock && tarSum(header)
}

// tarSum reports whether the sum of a header is right: of all its bytes, those of the sum itself taken for spaces.
func tarSum(header []byte) bool {
	want, err := strconv.ParseUint(strings.Trim(string(header[148:156]), " \x00"), 8, 32)
	sum := uint64(8 * ' ')
	for i, c := range header {
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	return err == nil && sum == want
}

// isText reports whether there is no zero and no other byte that text has no use for.
func isText(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' || r == 0x7f })
}

// refine looks a second time where one magic stands for two formats.
func refine(f Format, head []byte) Format {
	switch f {
	case ELF:
		if len(head) > 11 && head[8] == 'A' && head[9] == 'I' && (head[10] == 1 || head[10] == 2) {
			return AppImage
		}
	case AR:
		if bytes.HasPrefix(head[8:], []byte("debian-binary")) {
			return Deb
		}
	case CPIO:
		size, digits := cpioHeader, "0123456789abcdefABCDEF"
		if head[5] == '7' { // the old character format
			size, digits = cpioOld, "01234567"
		}
		if len(head) < size || len(bytes.Trim(head[:size], digits)) > 0 {
			return None
		}
	case Bzip2:
		if len(head) < 10 || head[3] < '1' || head[3] > '9' || string(head[4:10]) != "1AY&SY" {
			return None
		}
	}
	return f
}

// sniffMZ wants more than two letters: the header that an MZ stub points to, or enough of a DOS program.
func sniffMZ(head []byte) Format {
	if len(head) < 64 {
		return None
	}
	at := binary.LittleEndian.Uint32(head[60:])
	if at < uint32(len(head)-4) {
		if string(head[at:at+4]) == "PE\x00\x00" {
			return PE
		}
		return None
	}
	return PE // the header is further on; the parser will tell
}

// sniffFat separates universal binaries from Java classes, which share a magic: classes have a version of at least 45 there.
func sniffFat(head []byte) Format {
	if len(head) < 8 {
		return None
	}
	if n := binary.BigEndian.Uint32(head[4:]); n > 0 && n < 40 {
		return MachO
	}
	return None
}

// sniffText finds property lists and desktop files: the few text formats that start programs.
func sniffText(head []byte) Format {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case bytes.HasPrefix(text, []byte("<?xml")) && bytes.Contains(text[:min(len(text), 1024)], []byte("<plist")):
		return Bundle
	case bytes.HasPrefix(text, []byte("<plist")):
		return Bundle
	}
	if bytes.HasPrefix(text, []byte("Metadata-Version:")) {
		return Wheel
	}
	for len(text) > 0 && text[0] == '#' {
		_, rest, ok := bytes.Cut(text, []byte("\n"))
		if !ok {
			return None
		}
		text = bytes.TrimLeft(rest, " \t\r\n")
	}
	if bytes.HasPrefix(text, []byte("[Desktop Entry]")) {
		return Desktop
	}
	return None
}

// Where formats that have no head show themselves.
const (
	isoAt     = 0x8001 // ECMA-119: identifier of the first volume descriptor
	isoMagic  = "CD001"
	udfMagic  = "BEA01" // ECMA-167: a disc without ISO 9660
	dmgMagic  = "koly\x00\x00\x00\x04\x00\x00\x02\x00"
	minForISO = isoAt + 2048
)

// SniffFar tells the format of a file whose first bytes say nothing: a zip behind something else, and disk images.
func SniffFar(r io.ReaderAt, size int64) (Format, error) {
	var tail [DMGTailSize]byte
	t := tail[:min(size, DMGTailSize)]
	if _, err := r.ReadAt(t, size-int64(len(t))); err != nil && !errors.Is(err, io.EOF) {
		return None, err
	}
	switch {
	case ZipTail(t):
		return Zip, nil
	case DMGTail(t):
		return DMG, nil
	case size < minForISO:
		return None, nil
	}
	id := tail[:len(isoMagic)]
	if _, err := r.ReadAt(id, isoAt); err != nil && !errors.Is(err, io.EOF) {
		return None, err
	}
	if string(id) == isoMagic || string(id) == udfMagic {
		return ISO, nil
	}
	return None, nil
}

// DiscSize is how many bytes of a file SniffDisc wants to see.
const DiscSize = isoAt + len(isoMagic)

// SniffDisc tells a disc image from the first DiscSize bytes of a file.
func SniffDisc(head []byte) Format {
	if len(head) >= DiscSize && (string(head[isoAt:DiscSize]) == isoMagic || string(head[isoAt:DiscSize]) == udfMagic) {
		return ISO
	}
	return None
}

// DMGTail reports whether tail, the last bytes of a file, is the end of a macOS disk image.
func DMGTail(tail []byte) bool {
	return len(tail) >= DMGTailSize && string(tail[len(tail)-DMGTailSize:][:len(dmgMagic)]) == dmgMagic
}

// MaybeDMG reports whether a file may be a macOS disk image by its first bytes, which are the first block of the disk: as it is, with or without
// Apple's map of partitions, or compressed by zlib, bzip2, LZFSE or LZMA.
func MaybeDMG(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch string(head[:2]) {
	case "x\x01", "x\x5e", "x\x9c", "x\xda", "ER", "BZ", "\xfd7":
		return true
	}
	return string(head[:3]) == "bvx" || string(head[:4]) == "\x00\x00\x00\x00"
}

// ZipTail reports whether tail, the last TailSize bytes of a file, is the end record of a zip archive.
func ZipTail(tail []byte) bool {
	return len(tail) >= TailSize && string(tail[len(tail)-TailSize:len(tail)-TailSize+4]) == "PK\x05\x06"
}
