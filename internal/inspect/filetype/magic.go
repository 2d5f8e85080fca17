package filetype

import "bytes"

// magic is a signature: bytes at an offset and the media type they mean.
type magic struct {
	offset int
	bytes  string
	media  string
}

// magics are the signatures of formats, the longer ones of one offset first. From the formats' own specifications.
var magics = []magic{
	{0, "\x89PNG\r\n\x1a\n", "image/png"},
	{0, "\xff\xd8\xff", "image/jpeg"},
	{0, "GIF87a", "image/gif"},
	{0, "GIF89a", "image/gif"},
	{8, "WEBP", "image/webp"},
	{0, "II*\x00", "image/tiff"},
	{0, "MM\x00*", "image/tiff"},
	{0, "\x00\x00\x01\x00", "image/vnd.microsoft.icon"},
	{4, "ftypheic", "image/heic"},
	{4, "ftypavif", "image/avif"},
	{4, "ftypqt", "video/quicktime"},
	{4, "ftypM4A", "audio/mp4"},
	{4, "ftyp", "video/mp4"},
	{8, "WAVE", "audio/wav"},
	{8, "AVI ", "video/x-msvideo"},
	{0, "OggS", "audio/ogg"},
	{0, "fLaC", "audio/flac"},
	{0, "ID3\x02", "audio/mpeg"},
	{0, "ID3\x03", "audio/mpeg"},
	{0, "ID3\x04", "audio/mpeg"},
	{0, "\xff\xfb", "audio/mpeg"},
	{0, "#!AMR", "audio/amr"},
	{0, "\x1a\x45\xdf\xa3", "video/webm"},
	{0, "%PDF-", "application/pdf"},
	{0, "{\\rtf", "application/rtf"},
	{0, "PK\x03\x04", "application/zip"},
	{0, "PK\x05\x06", "application/zip"},
	{0, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"},
	{0, "Rar!\x1a\x07", "application/vnd.rar"},
	{0, "\x1f\x8b", "application/gzip"},
	{0, "BZh", "application/x-bzip2"},
	{0, "\xfd7zXZ\x00", "application/x-xz"},
	{0, "\x28\xb5\x2f\xfd", "application/zstd"},
	{257, "ustar", "application/x-tar"},
	{0, "MSCF\x00\x00\x00\x00", "application/vnd.ms-cab-compressed"},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"},
	{0, "\x7fELF", "application/x-executable"},
	{0, "\xcf\xfa\xed\xfe", "application/x-mach-binary"},
	{0, "\xce\xfa\xed\xfe", "application/x-mach-binary"},
	{0, "\xfe\xed\xfa\xcf", "application/x-mach-binary"},
	{0, "\xfe\xed\xfa\xce", "application/x-mach-binary"},
	{0, "!<arch>\ndebian-binary", "application/vnd.debian.binary-package"},
	{0, "\xed\xab\xee\xdb", "application/x-rpm"},
	{0, "dex\n03", "application/vnd.android.dex"},
	{0, "\x00asm", "application/wasm"},
	{0, "xar!", "application/x-xar"},
	{0, "L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"},
	{0, "SQLite format 3\x00", "application/vnd.sqlite3"},
	{32769, "CD001", "application/x-iso9660-image"},
	{0, "-----BEGIN PGP MESSAGE-----", "application/pgp-encrypted"},
	{0, "Salted__", "application/x-openssl-encrypted"},
	{0, "age-encryption.org/v1\n", "application/x-age-encrypted"},
	{0, "-----BEGIN AGE ENCRYPTED FILE-----", "application/x-age-encrypted"},
	{0, "LUKS\xba\xbe", "application/x-luks"},
}

// headSize is how much of a file is read to tell its type.
const headSize = 33 << 10

// byMagic returns the media type by signature, or "".
func byMagic(head []byte) string {
	for _, m := range magics {
		if len(head) >= m.offset+len(m.bytes) && string(head[m.offset:m.offset+len(m.bytes)]) == m.bytes {
			return m.media
		}
	}
	switch {
	case isBMP(head):
		return "image/bmp"
	case isPE(head):
		return "application/vnd.microsoft.portable-executable"
	case bytes.HasPrefix(head, []byte("MZ")):
		return "application/x-dosexec"
	case bytes.HasPrefix(head, []byte("#!")):
		return "text/x-script"
	case isMachOFat(head):
		return "application/x-mach-binary"
	case bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")):
		return "application/java-vm"
	}
	return ""
}

// isBMP tells a bitmap from a text that begins with the same two letters: the size of its second header, below 256, follows the first.
func isBMP(head []byte) bool {
	return len(head) >= 18 && bytes.HasPrefix(head, []byte("BM")) && head[14] != 0 && head[15] == 0 && head[16] == 0 && head[17] == 0
}

func isPE(head []byte) bool {
	if len(head) < 0x40 || !bytes.HasPrefix(head, []byte("MZ")) {
		return false
	}
	at := int(head[0x3c]) | int(head[0x3d])<<8 | int(head[0x3e])<<16 | int(head[0x3f])<<24
	return at > 0 && at < len(head)-4 && string(head[at:at+4]) == "PE\x00\x00"
}

// isMachOFat tells a universal binary from a Java class, which begins alike: the former counts its few parts where the latter has its version.
func isMachOFat(head []byte) bool {
	return len(head) >= 8 && bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")) && head[4] == 0 && head[5] == 0 && head[6] == 0 && head[7] < 20
}
