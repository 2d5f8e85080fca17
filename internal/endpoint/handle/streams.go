package handle

import (
	"encoding/binary"
	"os"
	"strings"
	"unicode/utf16"
)

// Stream is a further stream of a file or folder on NTFS: content beside its content, by a name of its own.
type Stream struct {
	Name string
	Size int64
}

// Streams lists the further streams of an opened file or folder. There are none where the file system has no such thing.
func Streams(f *os.File) ([]Stream, error) { return streams(f) }

// OpenStream opens a further stream of an opened file or folder for reading. path is what it is called.
func OpenStream(f *os.File, name, path string) (*os.File, error) { return openStream(f, name, path) }

const (
	streamHead  = 24 // next entry, length of the name, size, allocated size (FILE_STREAM_INFO)
	maxStreams  = 10_000
	streamOfAll = ":$DATA"
)

// parseStreams reads what the system answers: a list of entries, each of which tells where the next one begins. What is no data, and the
// content of the file itself, is left out; an entry that leads out of the answer ends it.
func parseStreams(b []byte) []Stream {
	var out []Stream
	for len(b) >= streamHead && len(out) < maxStreams {
		next, length := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		size := int64(binary.LittleEndian.Uint64(b[8:]))
		if uint64(length) > uint64(len(b)-streamHead) || size < 0 {
			break
		}
		units := make([]uint16, length/2)
		for i := range units {
			units[i] = binary.LittleEndian.Uint16(b[streamHead+2*i:])
		}
		full := string(utf16.Decode(units))
		if name, data := strings.CutSuffix(full, streamOfAll); data && len(name) > 1 && name[0] == ':' {
			out = append(out, Stream{name[1:], size})
		}
		if next < streamHead || uint64(next) > uint64(len(b)) {
			break
		}
		b = b[next:]
	}
	return out
}
