package beside

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// archive is the application as one file: itself, or its folder packed.
func (a *found) archive(dir string) (*os.File, error) {
	if a.file != nil {
		return a.file, nil
	}
	root := filepath.Join(dir, a.name)
	if a.name == "package.json" {
		root = dir
	}
	out, err := scratch()
	if err != nil {
		return nil, err
	}
	if err := a.pack(out, root); err != nil {
		return nil, errors.Join(err, discard(out))
	}
	return out, nil
}

// Packed returns the first application as one file. The caller closes it, unless it is one that Close closes.
func (p *Place) Packed() (*os.File, error) { return p.apps[0].archive(p.dir) }

// node is a file in the tree of an archive.
type node struct {
	Size   int64  `json:"size"`
	Offset string `json:"offset"`
}

// pack writes the files of a folder behind a tree of their names, as an asar archive has it. The names of all but the manifest are numbers: they
// count for nothing. A file that is shorter than it was is filled with zeros, what is longer is cut.
func (a *found) pack(out *os.File, root string) error {
	tree := map[string]node{}
	var at int64
	for i, p := range a.parts {
		name := strconv.Itoa(i)
		if p.name == "package.json" {
			name = p.name
		}
		tree[name] = node{p.key.Size, strconv.FormatInt(at, 10)}
		at += p.key.Size
	}
	text, err := json.Marshal(map[string]any{"files": tree})
	if err != nil {
		return err
	}
	for len(text)%4 != 0 {
		text = append(text, ' ')
	}
	size := uint32(len(text))
	head := binary.LittleEndian.AppendUint32(nil, 4)
	for _, n := range []uint32{size + 8, size + 4, size} {
		head = binary.LittleEndian.AppendUint32(head, n)
	}
	begin := int64(len(head) + len(text))
	if _, err := out.Write(append(head, text...)); err != nil {
		return err
	}
	if err := out.Truncate(begin + at); err != nil {
		return err
	}
	at = begin
	for _, p := range a.parts {
		if err := copyPart(out, at, filepath.Join(root, p.name), p.key); err != nil {
			return err
		}
		at += p.key.Size
	}
	return nil
}

// copyPart copies a file that is still the one that was seen.
func copyPart(out *os.File, at int64, path string, want key) error {
	f, k, _, err := regular(path)
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	if k.Dev != want.Dev || k.Ino != want.Ino {
		return nil // changed meanwhile: the sum will be another one
	}
	_, err = io.Copy(io.NewOffsetWriter(out, at), io.LimitReader(f, want.Size))
	return err
}
