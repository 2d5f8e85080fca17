// Package squashfs reads the files of a squashfs image (version 4.0), as snaps and AppImages are: blocks, fragments, and all compressors
// but the old LZMA.
//
// Every number in an image is taken for hostile: nothing is allocated by what it claims, folders that lead into themselves end at a bound, and
// a block unpacks to no more than the block size. Only what is read of a file is unpacked.
package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Bounds of an image.
const (
	superblock  = 96
	metaSize    = 8 << 10
	maxBlock    = 1 << 20
	maxDepth    = 64
	maxEntries  = 400_000
	maxCached   = 512 // blocks of metadata that are kept unpacked
	maxDirSize  = 64 << 20
	noFragment  = 0xffffffff
	storedBlock = 1 << 24 // flag in the size of a block
	storedMeta  = 1 << 15 // flag in the size of a block of metadata
)

// Types of inodes.
const (
	basicDir  = 1
	basicFile = 2
	largeDir  = 8
	largeFile = 9
)

// Errors of the package.
var (
	ErrFormat      = errors.New("squashfs: broken image")
	ErrTooMany     = errors.New("squashfs: more entries or folders within folders than are looked at")
	ErrUnsupported = errors.New("squashfs: version or compressor is not supported")
)

// Image is an opened image. It is not safe for concurrent use.
type Image struct {
	data      []byte
	blockSize int
	compress  uint16
	fragments uint32
	root      uint64
	inodes    uint64 // where tables begin
	dirs      uint64
	fragTable uint64

	meta     map[uint64]metaBlock
	fragment uint64 // the fragment block that was unpacked last, by its place
	unpacked []byte
	entries  int
	zstd     *zstd.Decoder
}

type metaBlock struct {
	body []byte
	next uint64
}

// Open reads the superblock.
func Open(data []byte) (*Image, error) {
	if len(data) < superblock || string(data[:4]) != "hsqs" {
		return nil, ErrFormat
	}
	u16, u32, u64 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	i := &Image{data: data, blockSize: int(u32(data[12:])), fragments: u32(data[16:]), compress: u16(data[20:]), root: u64(data[32:]),
		inodes: u64(data[64:]), dirs: u64(data[72:]), fragTable: u64(data[80:]), meta: map[uint64]metaBlock{}}
	switch {
	case u16(data[28:]) != 4 || u16(data[30:]) != 0:
		return nil, fmt.Errorf("%w: version %d.%d", ErrUnsupported, u16(data[28:]), u16(data[30:]))
	case i.blockSize < 4096 || i.blockSize > maxBlock:
		return nil, ErrFormat
	case !i.supported():
		return nil, fmt.Errorf("%w: compressor %d", ErrUnsupported, i.compress)
	}
	return i, nil
}

// Walk calls f for each regular file, by its path from the root. The reader is good until f returns; what is not read is not unpacked.
func (i *Image) Walk(f func(name string, size int64, r io.Reader) error) error {
	i.entries = 0
	return i.directory(i.root, "", 0, f)
}

// inode is what is needed of one.
type inode struct {
	kind     uint16
	size     uint64
	start    uint64 // of the blocks of a file, of the block of a folder's list
	offset   uint32 // in the fragment, in the block
	fragment uint32
	sizes    *metaReader // of the blocks follow here
}

// readInode reads the inode at a reference: where its block begins, and the place in it.
func (i *Image) readInode(ref uint64) (n inode, err error) {
	r, err := i.metaAt(i.inodes+ref>>16, int(ref&0xffff))
	if err != nil {
		return n, err
	}
	head := r.bytes(16)
	if head == nil {
		return n, ErrFormat
	}
	u16, u32, u64 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	n.kind, n.fragment, n.sizes = u16(head), noFragment, r
	var b []byte
	switch n.kind {
	case basicDir:
		if b = r.bytes(16); b != nil {
			n.start, n.size, n.offset = uint64(u32(b)), uint64(u16(b[8:])), uint32(u16(b[10:]))
		}
	case largeDir:
		if b = r.bytes(24); b != nil {
			n.size, n.start, n.offset = uint64(u32(b[4:])), uint64(u32(b[8:])), uint32(u16(b[18:]))
		}
	case basicFile:
		if b = r.bytes(16); b != nil {
			n.start, n.fragment, n.offset, n.size = uint64(u32(b)), u32(b[4:]), u32(b[8:]), uint64(u32(b[12:]))
		}
	case largeFile:
		if b = r.bytes(40); b != nil {
			n.start, n.size, n.fragment, n.offset = u64(b), u64(b[8:]), u32(b[28:]), u32(b[32:])
		}
	default: // links, devices, FIFOs and sockets hold nothing
		return n, nil
	}
	if b == nil || n.size > 1<<62 {
		return n, ErrFormat
	}
	return n, nil
}

// directory walks one folder.
func (i *Image) directory(ref uint64, path string, depth int, f func(string, int64, io.Reader) error) error {
	if depth > maxDepth {
		return ErrTooMany
	}
	n, err := i.readInode(ref)
	if err != nil {
		return err
	}
	if n.kind != basicDir && n.kind != largeDir || n.size < 3 || n.size > maxDirSize {
		return nil // an empty folder has the size 3
	}
	r, err := i.metaAt(i.dirs+n.start, int(n.offset))
	if err != nil {
		return err
	}
	for left := int64(n.size) - 3; left > 0; {
		head := r.bytes(12)
		if head == nil {
			return ErrFormat
		}
		left -= 12
		count, start := int64(binary.LittleEndian.Uint32(head))+1, uint64(binary.LittleEndian.Uint32(head[4:]))
		for ; count > 0 && left > 0; count-- {
			e := r.bytes(8)
			if e == nil {
				return ErrFormat
			}
			kind, size := binary.LittleEndian.Uint16(e[4:]), int(binary.LittleEndian.Uint16(e[6:]))+1
			child := start<<16 | uint64(binary.LittleEndian.Uint16(e))
			name := r.bytes(size)
			if name == nil || size > 256 {
				return ErrFormat
			}
			left -= 8 + int64(size)
			if err := i.entry(child, kind, path+string(name), depth, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (i *Image) entry(ref uint64, kind uint16, path string, depth int, f func(string, int64, io.Reader) error) error {
	if i.entries++; i.entries > maxEntries {
		return ErrTooMany
	}
	switch kind {
	case basicDir:
		return i.directory(ref, path+"/", depth+1, f)
	case basicFile:
		n, err := i.readInode(ref)
		if err != nil {
			return err
		}
		if n.kind != basicFile && n.kind != largeFile {
			return ErrFormat
		}
		return f(path, int64(n.size), &file{image: i, inode: n, left: int64(n.size), at: n.start})
	}
	return nil
}

// file reads one file, block by block.
type file struct {
	image *Image
	inode inode
	left  int64 // not yet unpacked
	at    uint64
	block []byte
}

// Read reads on.
func (f *file) Read(p []byte) (int, error) {
	if len(f.block) == 0 {
		if f.left == 0 {
			return 0, io.EOF
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.block)
	f.block = f.block[n:]
	return n, nil
}

// next unpacks the next block, or the fragment at the end.
func (f *file) next() error {
	want := int(min(f.left, int64(f.image.blockSize)))
	var body []byte
	var err error
	if want < f.image.blockSize && f.inode.fragment != noFragment {
		body, err = f.image.fragmentAt(f.inode.fragment)
		if err == nil && int64(f.inode.offset)+int64(want) <= int64(len(body)) {
			body = body[f.inode.offset:][:want]
		} else if err == nil {
			err = ErrFormat
		}
	} else {
		body, err = f.blockAt(want)
	}
	if err != nil {
		return err
	}
	if len(body) != want {
		return ErrFormat
	}
	f.block, f.left = body, f.left-int64(want)
	return nil
}

// blockAt unpacks the next block of data. One of size 0 is a hole.
func (f *file) blockAt(want int) ([]byte, error) {
	b := f.inode.sizes.bytes(4)
	if b == nil {
		return nil, ErrFormat
	}
	size := binary.LittleEndian.Uint32(b)
	if size&^storedBlock == 0 {
		return make([]byte, want), nil
	}
	body, err := f.image.block(f.at, size)
	f.at += uint64(size &^ storedBlock)
	return body, err
}

// fragmentAt unpacks the block that holds the ends of several files.
func (i *Image) fragmentAt(n uint32) ([]byte, error) {
	if n >= i.fragments {
		return nil, ErrFormat
	}
	const perBlock = metaSize / 16
	at := i.fragTable + 8*uint64(n/perBlock)
	if at > uint64(len(i.data)) || at+8 > uint64(len(i.data)) {
		return nil, ErrFormat
	}
	r, err := i.metaAt(binary.LittleEndian.Uint64(i.data[at:]), int(n%perBlock)*16)
	if err != nil {
		return nil, err
	}
	e := r.bytes(16)
	if e == nil {
		return nil, ErrFormat
	}
	start := binary.LittleEndian.Uint64(e)
	if start == i.fragment && i.unpacked != nil {
		return i.unpacked, nil
	}
	i.fragment = start
	i.unpacked, err = i.block(start, binary.LittleEndian.Uint32(e[8:]))
	return i.unpacked, err
}

// block unpacks a block of data.
func (i *Image) block(at uint64, size uint32) ([]byte, error) {
	n := uint64(size &^ storedBlock)
	if n > maxBlock || at > uint64(len(i.data)) || n > uint64(len(i.data))-at {
		return nil, ErrFormat
	}
	body := i.data[at : at+n]
	if size&storedBlock != 0 {
		return body, nil
	}
	return i.decompress(body, i.blockSize)
}
