package filetype

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Bounds of what is read of one file.
const (
	maxDirectory = 16 << 20 // central directory of a zip
	maxEntries   = 100_000
	tailSize     = 70 << 10
	scanLimit    = 64 << 20 // how far a PDF is searched for its trailer's /Encrypt
)

// encrypted returns event.ReasonEncrypted when nobody can look into the file without a password.
func (f *file) encrypted(media string) string {
	hidden := false
	switch media {
	case "application/pdf":
		hidden = f.contains("/Encrypt ") || f.contains("/Encrypt\r") || f.contains("/Encrypt\n") || f.contains("/Encrypt<<")
	case "application/encrypted-office", "application/pgp-encrypted", "application/x-openssl-encrypted", "application/x-age-encrypted", "application/x-luks":
		hidden = true
	case "application/msword":
		hidden = wordEncrypted(f.head)
	case "application/vnd.rar":
		hidden = rarEncrypted(f.head)
	case "application/x-7z-compressed":
		hidden = f.sevenZipEncrypted()
	default:
		hidden = f.zip != nil && f.zip.encrypted
	}
	if hidden {
		return event.ReasonEncrypted
	}
	return ""
}

// contains searches the head and the tail of the file, and all of it up to a bound.
func (f *file) contains(s string) bool {
	const chunk = 1 << 20
	buf := make([]byte, chunk+len(s))
	for at := int64(0); at < min(f.size, scanLimit); at += chunk {
		n, err := f.body.ReadAt(buf, at)
		if bytes.Contains(buf[:n], []byte(s)) {
			return true
		}
		if err != nil {
			break
		}
	}
	return false
}

// directory is what a zip's central directory tells.
type directory struct {
	names     []string // of the first entries
	encrypted bool
}

// readDirectory reads the central directory (APPNOTE 4.3.12 and 4.3.16) with bounds.
func readDirectory(body io.ReaderAt, size int64) (*directory, string) {
	tail := make([]byte, min(size, tailSize))
	if n, err := body.ReadAt(tail, size-int64(len(tail))); n < len(tail) && err != nil {
		return nil, event.ReasonUnreadable
	}
	end := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if end < 0 || len(tail)-end < 22 {
		return nil, event.ReasonUnparseable
	}
	length, offset := int64(binary.LittleEndian.Uint32(tail[end+12:])), int64(binary.LittleEndian.Uint32(tail[end+16:]))
	if offset == 0xFFFFFFFF || length > maxDirectory {
		return nil, event.ReasonOversize // a zip64, or one with too many entries
	}
	if before := size - int64(len(tail)) + int64(end) - length; offset > before && before >= 0 || offset+length > size {
		return nil, event.ReasonUnparseable
	} else if offset < before {
		offset = before // something stands before the zip, as in self-extracting ones
	}
	raw := make([]byte, length)
	if n, err := body.ReadAt(raw, offset); n < len(raw) && err != nil {
		return nil, event.ReasonUnreadable
	}
	return parseDirectory(raw)
}

func parseDirectory(raw []byte) (*directory, string) {
	d := &directory{}
	for entries := 0; len(raw) >= 46 && string(raw[:4]) == "PK\x01\x02"; entries++ {
		if entries > maxEntries {
			return nil, event.ReasonOversize
		}
		flags, method := binary.LittleEndian.Uint16(raw[8:]), binary.LittleEndian.Uint16(raw[10:])
		d.encrypted = d.encrypted || flags&1 != 0 || flags&0x2000 != 0 || method == 99
		nameLength := int(binary.LittleEndian.Uint16(raw[28:]))
		total := 46 + nameLength + int(binary.LittleEndian.Uint16(raw[30:])) + int(binary.LittleEndian.Uint16(raw[32:]))
		if total > len(raw) {
			return nil, event.ReasonUnparseable
		}
		if len(d.names) < 1000 {
			d.names = append(d.names, string(raw[46:46+nameLength]))
		}
		raw = raw[total:]
	}
	if len(raw) > 0 {
		return nil, event.ReasonUnparseable
	}
	return d, ""
}

// media tells what a zip is by its entries.
func (d *directory) media() string {
	prefixes := []struct{ name, media string }{
		{"AndroidManifest.xml", "application/vnd.android.package-archive"},
		{"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
		{"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
		{"META-INF/MANIFEST.MF", "application/java-archive"},
		{"META-INF/container.xml", "application/epub+zip"},
		{"META-INF/manifest.xml", "application/vnd.oasis.opendocument"},
	}
	for _, p := range prefixes {
		for _, name := range d.names {
			if strings.HasPrefix(name, p.name) {
				return p.media
			}
		}
	}
	return "application/zip"
}

// oleMedia tells what an OLE compound file ([MS-CFB]) is by the names of its streams, which stand in it as UTF-16.
func oleMedia(head []byte) string {
	switch {
	case bytes.Contains(head, wide("EncryptedPackage")):
		return "application/encrypted-office"
	case bytes.Contains(head, wide("WordDocument")):
		return "application/msword"
	case bytes.Contains(head, []byte("\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")): // the class of MSI databases
		return "application/x-msi"
	}
	return "application/x-ole-storage"
}

func wide(s string) []byte {
	out := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		out = append(out, s[i], 0)
	}
	return out
}

// wordEncrypted looks at the FIB of a Word document ([MS-DOC] 2.5.2): bit 8 of its flags. The stream begins at a sector.
func wordEncrypted(head []byte) bool {
	for at := 512; at+12 <= len(head); at += 512 {
		if head[at] == 0xEC && head[at+1] == 0xA5 {
			return head[at+11]&1 != 0
		}
	}
	return false
}

// rarEncrypted looks for the encryption header of RAR 5, and the flags of RAR 4 headers.
func rarEncrypted(head []byte) bool {
	if bytes.HasPrefix(head, []byte("Rar!\x1a\x07\x01\x00")) {
		return rar5Encrypted(head[8:])
	}
	if len(head) < 20 || head[9] != 0x73 {
		return false
	}
	if binary.LittleEndian.Uint16(head[10:])&0x80 != 0 { // the headers themselves
		return true
	}
	next := 7 + int(binary.LittleEndian.Uint16(head[12:]))
	return len(head) >= next+5 && head[next+2] == 0x74 && binary.LittleEndian.Uint16(head[next+3:])&4 != 0
}

// rar5Encrypted reads the first blocks: type 4 encrypts all headers, an extra record of type 1 in a file header encrypts the file.
func rar5Encrypted(b []byte) bool {
	for range 4 {
		if len(b) < 7 {
			return false
		}
		size, n := binary.Uvarint(b[4:min(len(b), 14)])
		if n <= 0 || size == 0 || size > uint64(len(b)) {
			return false
		}
		body := b[4+n:]
		kind, k := binary.Uvarint(body)
		if k <= 0 {
			return false
		}
		if kind == 4 {
			return true
		}
		if kind == 2 {
			flags, fl := binary.Uvarint(body[k:])
			if fl <= 0 || flags&1 == 0 {
				return false
			}
			extra, _ := binary.Uvarint(body[k+fl:])
			if size > uint64(len(body)) || extra > size {
				return false
			}
			record := body[size-extra : size]
			_, rl := binary.Uvarint(record)
			if rl <= 0 || rl >= len(record) {
				return false
			}
			return record[rl] == 1
		}
		if uint64(len(body)) < size {
			return false
		}
		b = body[size:]
	}
	return false
}

// sevenZipEncrypted looks for the id of the AES coder in the header at the end (7zFormat.txt: 06 F1 07 01).
func (f *file) sevenZipEncrypted() bool {
	if len(f.head) < 32 {
		return false
	}
	offset, size := int64(binary.LittleEndian.Uint64(f.head[12:])), int64(binary.LittleEndian.Uint64(f.head[20:]))
	if offset < 0 || size <= 0 || size > maxDirectory || offset > f.size || 32+offset+size > f.size {
		return false
	}
	header := make([]byte, size)
	if n, err := f.body.ReadAt(header, 32+offset); n < len(header) && err != nil {
		return false
	}
	return bytes.Contains(header, []byte("\x06\xf1\x07\x01"))
}
