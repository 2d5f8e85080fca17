package program

import (
	"bytes"
	"encoding/binary"
)

// HeadSize is how many bytes of a file Sniff wants to see.
const HeadSize = 4096

// TailSize is how many bytes at the end of a file show a zip that is appended to something else (its end record without a comment).
const TailSize = 22

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
	case len(head) >= 265 && string(head[257:262]) == "ustar":
		return Tar
	case len(head) > 25 && binary.LittleEndian.Uint32(head) == 4 && bytes.HasPrefix(head[16:], []byte(`{"files":`)):
		return ASAR
	}
	return sniffText(head)
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

// ZipTail reports whether tail, the last TailSize bytes of a file, is the end record of a zip archive.
func ZipTail(tail []byte) bool {
	return len(tail) >= TailSize && string(tail[len(tail)-TailSize:len(tail)-TailSize+4]) == "PK\x05\x06"
}
