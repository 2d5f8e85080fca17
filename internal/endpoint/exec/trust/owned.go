package trust

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// File is a file of this machine.
type File struct{ Dev, Ino uint64 }

// Owned are the programs that some packages brought, as they lie on the disk at one moment. It does not change.
type Owned struct {
	files map[File]*owner
	paths map[string]Package // by the real path, also where nothing lies yet
	sum   uint64
}

// owner is who brought one file.
type owner struct {
	Package
	links  uint64 // that the file has
	found  uint64 // of these, in the packages
	shared bool
}

// alone reports whether nobody else has the file: a store keeps one link beside those of who uses it.
func (o *owner) alone() bool { return !o.shared || o.links <= o.found+1 }

// Merge returns what several lists name, each once, in one order.
func Merge(lists ...[]Listed) []Listed {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b Listed) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Manager, b.Manager), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(all)
}

// Own looks for the programs among what packages list, below the root folder that was listed.
func Own(root string, lists ...[]Listed) *Owned {
	o := &Owned{files: map[File]*owner{}, paths: map[string]Package{}}
	listed := Merge(lists...)
	digest := sha256.New()
	places := map[string]string{}
	for i := range listed {
		l := &listed[i]
		real, st, ok := l.lies(root, places)
		if !ok {
			continue
		}
		o.paths[real] = l.Package
		if st == nil {
			continue
		}
		file := File{uint64(st.Dev), st.Ino}
		if o.files[file] == nil {
			o.files[file] = &owner{Package: l.Package, links: uint64(st.Nlink), shared: l.Shared} //nolint:unconvert // narrower on other processors
		}
		if o.files[file].found++; l.Shared {
			continue
		}
		o.files[file].shared = false
		fmt.Fprintf(digest, "%q %q %q %d %d\n", real, l.Manager, l.Name, st.Dev, st.Ino)
	}
	var shared []File
	for file, owner := range o.files {
		if owner.shared {
			shared = append(shared, file)
		}
	}
	slices.SortFunc(shared, func(a, b File) int { return cmp.Or(cmp.Compare(a.Dev, b.Dev), cmp.Compare(a.Ino, b.Ino)) })
	for _, file := range shared {
		fmt.Fprintf(digest, "%d %d %q %v\n", file.Dev, file.Ino, o.files[file].Name, o.files[file].alone())
	}
	if len(o.files) > 0 {
		o.sum = binary.LittleEndian.Uint64(digest.Sum(nil))
	}
	return o
}

// lies returns where a listed file really lies, below its root, and its status when it is there; not ok when it is no program.
func (l *Listed) lies(root string, places map[string]string) (real string, st *unix.Stat_t, ok bool) {
	dir, name := filepath.Split(filepath.Join(root, l.Path))
	place, known := places[dir]
	if !known {
		place = dir
		if p, err := filepath.EvalSymlinks(dir); err == nil { // /bin is a link to /usr/bin
			place = p
		}
		places[dir] = place
	}
	real = filepath.Join(place, name)
	st = &unix.Stat_t{}
	if unix.Lstat(real, st) != nil {
		return real, nil, true // it was not unpacked yet, or is gone
	}
	return real, st, st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0
}

// Programs returns those of listed that are programs, or may become some: that are not there.
func Programs(root string, listed []Listed) []Listed {
	places := map[string]string{}
	var out []Listed
	for _, l := range listed {
		if _, _, ok := l.lies(root, places); ok {
			out = append(out, l)
		}
	}
	return out
}

// Of tells which package brought a file, by itself or by where it lies. Shared: others brought the same file too, and it is none of theirs
// where it does not lie in the package.
func (o *Owned) Of(path string, st *unix.Stat_t) (p Package, owned, shared bool) {
	found := o.files[File{uint64(st.Dev), st.Ino}]
	if p, owned = o.paths[path]; owned {
		return p, true, found != nil && !found.alone()
	}
	switch {
	case found == nil:
		return Package{}, false, false
	case found.alone():
		return found.Package, true, false
	}
	return Package{}, false, true
}

// Empty reports whether nothing is listed.
func (o *Owned) Empty() bool { return len(o.paths) == 0 }

// Sum is the same for the same programs, and 0 for none.
func (o *Owned) Sum() uint64 { return o.sum }
