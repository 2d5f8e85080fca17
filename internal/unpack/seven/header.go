package seven

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Ids in a header, by 7zFormat.txt.
const (
	idEnd             = 0x00
	idHeader          = 0x01
	idMainStreams     = 0x04
	idFilesInfo       = 0x05
	idPackInfo        = 0x06
	idUnpackInfo      = 0x07
	idSubStreams      = 0x08
	idSize            = 0x09
	idCRC             = 0x0a
	idFolder          = 0x0b
	idUnpackSize      = 0x0c
	idNumUnpackStream = 0x0d
	idEncodedHeader   = 0x17
)

const maxCoders = 32 // of a folder, and ways into one: the packer's own bound

// walk reads a header. After the first error all that it reads is nought.
type walk struct {
	rest []byte
	err  error
}

// streams is what a header says of the packed streams, as far as it is needed here.
type streams struct {
	position uint64
	packed   []uint64 // sizes
	folders  []folder
}

type folder struct {
	coders []coder
	outs   uint64
	sizes  []uint64 // unpacked
}

type coder struct {
	id         string
	properties []byte
}

func (w *walk) fail(what string) {
	if w.err == nil {
		w.err, w.rest = fmt.Errorf("%w: %s", ErrFormat, what), nil
	}
}

// bytes returns the next n, nil when there are fewer.
func (w *walk) bytes(n uint64) []byte {
	if n > uint64(len(w.rest)) {
		w.fail("its header is cut off")
		return nil
	}
	b := w.rest[:n]
	w.rest = w.rest[n:]
	return b
}

func (w *walk) byte() byte {
	if b := w.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// number reads one: the ones at the begin of its first byte say how many bytes follow.
func (w *walk) number() uint64 {
	first := w.byte()
	more := bits.LeadingZeros8(^first)
	b := w.bytes(uint64(more))
	if w.err != nil {
		return 0
	}
	v := binary.LittleEndian.Uint64(append(append(make([]byte, 0, 16), b...), make([]byte, 8)...))
	if more < 7 {
		v |= uint64(first&(1<<(7-more)-1)) << (8 * more)
	}
	return v
}

// count reads how many of something follow: each takes a byte at least, so there are no more than bytes.
func (w *walk) count(what string) uint64 {
	n := w.number()
	if n > uint64(len(w.rest)) {
		w.fail(what)
		return 0
	}
	return n
}

// header walks one up to the number of its files.
func (w *walk) header(files int) {
	id := w.byte()
	if id == idMainStreams {
		w.streams()
		id = w.byte()
	}
	if w.err != nil || id != idFilesInfo {
		return // without files; what else it may be the library tells
	}
	if n := w.count("files"); n > uint64(files) {
		w.err = ErrTooMany
	}
}

// streams walks what is said of the packed streams.
func (w *walk) streams() *streams {
	s := &streams{}
	id := w.byte()
	if id == idPackInfo {
		w.packed(s)
		id = w.byte()
	}
	if id == idUnpackInfo {
		w.folders(s)
		id = w.byte()
	}
	if id == idSubStreams {
		w.subStreams(s)
		id = w.byte()
	}
	if id != idEnd {
		w.fail("streams")
	}
	return s
}

func (w *walk) packed(s *streams) {
	s.position = w.number()
	n := w.count("packed streams")
	id := w.byte()
	if id == idSize {
		for range n {
			s.packed = append(s.packed, w.number())
		}
		id = w.byte()
	}
	if id == idCRC {
		w.sums(n)
		id = w.byte()
	}
	if id != idEnd {
		w.fail("packed streams")
	}
}

// sums walks a list of checksums, of which some may be missing.
func (w *walk) sums(n uint64) {
	given := n
	if w.byte() == 0 {
		given = 0
		for i, b := range w.bytes((n + 7) / 8) {
			if left := n - 8*uint64(i); left < 8 {
				b &= 0xff << (8 - left)
			}
			given += uint64(bits.OnesCount8(b))
		}
	}
	w.bytes(4 * given)
}

func (w *walk) folders(s *streams) {
	if w.byte() != idFolder {
		w.fail("folders")
	}
	n := w.count("folders")
	if w.byte() != 0 {
		w.fail("folders that are elsewhere")
	}
	for range n {
		s.folders = append(s.folders, w.folder())
		if w.err != nil {
			return
		}
	}
	if w.byte() != idUnpackSize {
		w.fail("sizes")
	}
	for i := range s.folders {
		f := &s.folders[i]
		for range f.outs {
			f.sizes = append(f.sizes, w.number())
		}
	}
	id := w.byte()
	if id == idCRC {
		w.sums(n)
		id = w.byte()
	}
	if id != idEnd {
		w.fail("folders")
	}
}

// folder walks the methods of one, how they are joined, and where packed streams go in.
func (w *walk) folder() folder {
	var f folder
	n, ins := w.number(), uint64(0)
	if n == 0 || n > maxCoders {
		w.fail("methods")
		return f
	}
	for range n {
		flags := w.byte()
		c := coder{id: string(w.bytes(uint64(flags & 0xf)))}
		in, out := uint64(1), uint64(1)
		if flags&0x10 != 0 {
			in, out = w.number(), w.number()
		}
		if in > maxCoders || out > maxCoders {
			w.fail("ways into a method")
		}
		if flags&0x20 != 0 {
			c.properties = w.bytes(w.number())
		}
		ins, f.outs = ins+in, f.outs+out
		f.coders = append(f.coders, c)
	}
	if ins > maxCoders || f.outs == 0 || f.outs > ins {
		w.fail("ways into a folder")
		return f
	}
	for range 2 * (f.outs - 1) {
		w.number()
	}
	if packed := ins - (f.outs - 1); packed > 1 {
		for range packed {
			w.number()
		}
	}
	return f
}

// subStreams walks how many files each folder holds, and their sizes: all but the last of each.
func (w *walk) subStreams(s *streams) {
	id, all, sizes := w.byte(), uint64(len(s.folders)), uint64(0)
	if id == idNumUnpackStream {
		all = 0
		for range s.folders {
			n := w.number()
			if n > uint64(len(w.rest)) {
				w.fail("files of a folder")
				return
			}
			all += n
			sizes += max(n, 1) - 1
		}
		id = w.byte()
	}
	if all > uint64(len(w.rest)) {
		w.fail("files of all folders")
		return
	}
	if id == idSize {
		for range sizes {
			w.number()
		}
		id = w.byte()
	}
	if id == idCRC {
		w.sums(all)
		id = w.byte()
	}
	if id != idEnd {
		w.fail("files of folders")
	}
}
