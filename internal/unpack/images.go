package unpack

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program/elf"
	"github.com/chaperone-im/chaperone/internal/unpack/squashfs"
)

// squashfs walks an image of a file system, as snaps and AppImages are.
func (w *walker) squashfs(inside string, data []byte, depth int) error {
	image, err := squashfs.Open(data)
	if err == nil {
		err = image.Walk(func(name string, _ int64, r io.Reader) error {
			return w.memberError(w.join(inside, name), w.member(inside, name, w.metered(r, inside, int64(len(data))), depth))
		})
	}
	switch {
	case errors.Is(err, squashfs.ErrUnsupported):
		return &bound{ReasonUnsupported, err.Error()}
	case errors.Is(err, squashfs.ErrTooMany):
		return &bound{event.ReasonBomb, err.Error()}
	}
	return err
}

// appImage walks the image behind the program that mounts it.
func (w *walker) appImage(inside string, data []byte, depth int) error {
	image := data[elf.End(data):]
	if !bytes.HasPrefix(image, []byte("hsqs")) {
		return &bound{ReasonUnsupported, "an AppImage whose file system is no squashfs"}
	}
	return w.squashfs(inside, image, depth)
}

// Bounds and layout of an asar archive: two pickled numbers, then a tree of names in JSON, then the files.
const (
	asarHeader  = 16
	maxAsarTree = 32 << 20
	maxFolders  = 64 // folders within folders, in images and trees
)

type asarNode struct {
	Files    map[string]*asarNode `json:"files"`
	Offset   string               `json:"offset"`
	Size     int64                `json:"size"`
	Unpacked bool                 `json:"unpacked"` // it lies beside the archive
	Link     string               `json:"link"`
}

// place returns where a file begins, and whether it lies wholly in files.
func (n *asarNode) place(files []byte) (int64, bool) {
	at, err := strconv.ParseInt(n.Offset, 10, 63)
	return at, err == nil && n.Size >= 0 && at >= 0 && at <= int64(len(files)) && n.Size <= int64(len(files))-at
}

// asar walks the payload of an Electron program.
func (w *walker) asar(inside string, data []byte, depth int) error {
	root, files, err := openAsar(data)
	if err != nil {
		return err
	}
	return w.asarFolder(inside, "", root, files, depth, 0)
}

// openAsar returns the tree and the bytes that its offsets count in.
func openAsar(data []byte) (*asarNode, []byte, error) {
	if len(data) < asarHeader {
		return nil, nil, errCut
	}
	pickle, text := uint64(binary.LittleEndian.Uint32(data[4:])), uint64(binary.LittleEndian.Uint32(data[12:]))
	if 8+pickle > uint64(len(data)) || asarHeader+text > uint64(len(data)) || text > maxAsarTree {
		return nil, nil, errCut
	}
	var root asarNode
	if err := json.Unmarshal(data[asarHeader:asarHeader+text], &root); err != nil {
		return nil, nil, fmt.Errorf("asar: %w", err)
	}
	return &root, data[8+pickle:], nil
}

func (w *walker) asarFolder(inside, path string, folder *asarNode, files []byte, depth, level int) error {
	if level > maxFolders {
		return &bound{event.ReasonTooDeep, "folders"}
	}
	for _, name := range slices.Sorted(maps.Keys(folder.Files)) {
		n := folder.Files[name]
		switch {
		case n == nil || n.Unpacked || n.Link != "":
			continue
		case n.Files != nil:
			if err := w.asarFolder(inside, path+name+"/", n, files, depth, level+1); err != nil {
				return err
			}
			continue
		}
		at, ok := n.place(files)
		if !ok {
			if err := w.memberError(w.join(inside, path+name), errCut); err != nil {
				return err
			}
			continue
		}
		if err := w.member(inside, path+name, bytes.NewReader(files[at:at+n.Size]), depth); err != nil {
			return err
		}
	}
	return nil
}

// Optical discs, by ECMA-119 and the Joliet specification.
const (
	isoSector    = 2048
	isoFirst     = 16 // sector of the first volume descriptor
	isoMaxVolume = 16 // descriptors that are looked at
	isoRoot      = 156
	isoRecord    = 33
	isoFolder    = 2    // flag
	isoMore      = 0x80 // flag: the file goes on in the next record
	maxISOEntry  = 400_000
)

// disc is one walk over a disc. The same file may be in two trees, under a short name and a long one.
type disc struct {
	w      *walker
	inside string
	data   []byte
	depth  int
	seen   map[[2]uint32]bool // extent and size of files, extent of folders
}

// iso walks a disc image: the tree with long names first, and then what only the other one has.
func (w *walker) iso(inside string, data []byte, depth int) error {
	d := &disc{w, inside, data, depth, map[[2]uint32]bool{}}
	short, long, udf := volumes(data)
	if short == nil && long == nil {
		return &bound{ReasonUnsupported, "disc without an ISO 9660 file system"}
	}
	for i, root := range [][]byte{long, short} {
		if root == nil {
			continue
		}
		if body, _ := d.extent(root); len(body) < 2*isoRecord {
			return errors.New("iso: no root folder")
		}
		if err := d.folder(root, "", i == 0, 0); err != nil {
			return err
		}
	}
	if udf {
		w.visitor.Fail(inside, ReasonUnsupported, "the UDF file system of the disc is not looked into, only its ISO 9660 one")
	}
	return nil
}

// volumes returns the root folders of the two trees, and whether there is a file system of another kind.
func volumes(data []byte) (short, long []byte, udf bool) {
	for i := range isoMaxVolume {
		at := (isoFirst + i) * isoSector
		if at+isoSector > len(data) {
			break
		}
		v := data[at : at+isoSector]
		switch id := string(v[1:6]); {
		case id == "BEA01" || id == "NSR02" || id == "NSR03":
			udf = true
		case id != "CD001":
		case v[0] == 1 && short == nil:
			short = v[isoRoot:]
		case v[0] == 2 && long == nil && v[88] == '%' && v[89] == '/':
			long = v[isoRoot:]
		}
	}
	return short, long, udf
}

// folder walks the folder that a record describes.
func (d *disc) folder(record []byte, path string, wide bool, level int) error {
	body, key := d.extent(record)
	switch {
	case body == nil:
		return d.w.memberError(d.w.join(d.inside, path), errCut)
	case level > maxFolders:
		return &bound{event.ReasonTooDeep, "folders"}
	case d.seen[key]:
		return nil
	}
	d.seen[key] = true
	var parts []byte // of a file that goes on
	for len(body) >= isoRecord {
		size := int(body[0])
		if size == 0 { // the rest of the sector is empty
			skip := (len(body)-1)%isoSector + 1
			body = body[skip:]
			continue
		}
		if size < isoRecord+1 || size > len(body) || isoRecord+int(body[32]) > size {
			return d.w.memberError(d.w.join(d.inside, path), errors.New("iso: broken folder"))
		}
		var err error
		if parts, err = d.entry(body[:size], path, wide, level, parts); err != nil {
			return err
		}
		body = body[size:]
	}
	return nil
}

// entry looks at one record of a folder, and returns what is known so far of a file that goes on.
func (d *disc) entry(r []byte, path string, wide bool, level int, parts []byte) ([]byte, error) {
	raw := r[isoRecord : isoRecord+int(r[32])]
	if len(raw) == 1 && raw[0] <= 1 {
		return nil, nil // the folder itself and the one above
	}
	name := path + isoName(raw, wide)
	if len(d.seen) > maxISOEntry {
		return nil, &bound{event.ReasonBomb, "entries"}
	}
	if r[25]&isoFolder != 0 {
		if err := d.w.count(d.inside); err != nil {
			return nil, err
		}
		return nil, d.folder(r, name+"/", wide, level+1)
	}
	body, key := d.extent(r)
	if body == nil {
		return nil, d.w.memberError(d.w.join(d.inside, name), errCut)
	}
	if r[25]&isoMore != 0 || parts != nil {
		if int64(len(parts)+len(body)) > d.w.limits.Member {
			return nil, d.w.memberError(d.w.join(d.inside, name), &bound{event.ReasonOversize, "larger than what is held in memory"})
		}
		if parts = append(parts, body...); r[25]&isoMore != 0 {
			return parts, nil
		}
		body = parts
	}
	if d.seen[key] {
		return nil, nil
	}
	d.seen[key] = true
	return nil, d.w.memberError(d.w.join(d.inside, name), d.w.member(d.inside, name, bytes.NewReader(body), d.depth))
}

// extent returns the bytes of a record, nil when they are not all there, and what they are known by.
func (d *disc) extent(r []byte) ([]byte, [2]uint32) {
	sector, size := binary.LittleEndian.Uint32(r[2:]), binary.LittleEndian.Uint32(r[10:])
	at := uint64(sector) * isoSector
	if at > uint64(len(d.data)) || uint64(size) > uint64(len(d.data))-at {
		return nil, [2]uint32{}
	}
	return d.data[at : at+uint64(size) : at+uint64(size)], [2]uint32{sector, size}
}

// isoName reads a name, without the version behind it.
func isoName(raw []byte, wide bool) string {
	name := string(raw)
	if wide {
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(raw[2*i:])
		}
		name = string(utf16.Decode(units))
	}
	name, _, _ = strings.Cut(name, ";")
	return strings.TrimSuffix(name, ".")
}
