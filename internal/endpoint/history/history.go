// Package history finds where messengers keep what was said, and describes such a place without reading what was said: path, owner, size, dates
// and a digest.
//
// These stores may be evidence. Nothing here parses, changes or moves them; their bytes are only hashed. A place is told by its path below a
// person's home folder, which anybody can make: it shows that a messenger may have been used, and never identifies a program.
package history

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Place is a store that is there.
type Place struct {
	App      string
	Path     string // absolute
	Evidence event.Evidence
}

// pattern is one place of the catalog, its names in lower case where the system does not tell cases apart.
type pattern struct {
	catalog.HistoryPlace
	names []string // from the last to the first
	fold  bool
}

// Index finds the places of a catalog. It is safe for concurrent use.
type Index struct {
	byName map[string][]pattern // by the last name, in lower case
	all    []pattern
}

// New makes the index of a catalog.
func New(c *catalog.Catalog) *Index {
	x := &Index{byName: map[string][]pattern{}}
	for _, h := range c.Histories() {
		p := pattern{HistoryPlace: h, fold: h.System != "linux"}
		text := h.Path
		if p.fold {
			text = strings.ToLower(text)
		}
		p.names = strings.Split(text, "/")
		slices.Reverse(p.names)
		last := strings.ToLower(p.names[0])
		x.byName[last] = append(x.byName[last], p)
		x.all = append(x.all, p)
	}
	return x
}

// Match reports which messenger's store path would be, wherever the home folder lies: on this machine, on a stick, in a backup.
func (x *Index) Match(path string) (Place, bool) {
	native := path
	path = filepath.ToSlash(path)
	i := strings.LastIndexByte(path, '/')
	candidates := x.byName[path[i+1:]]
	if candidates == nil {
		candidates = x.byName[strings.ToLower(path[i+1:])]
	}
	for c := range candidates {
		if p := &candidates[c]; p.ends(path) {
			return p.place(native), true
		}
	}
	return Place{}, false
}

// ends reports whether the pattern stands at the end of path, with a home folder before it.
func (p *pattern) ends(path string) bool {
	if p.fold {
		path = strings.ToLower(path)
	}
	for _, want := range p.names {
		i := strings.LastIndexByte(path, '/')
		if i < 0 || path[i+1:] == "" || want != "*" && path[i+1:] != want {
			return false
		}
		path = path[:i]
	}
	return path != "" // there is a home folder
}

func (p *pattern) place(path string) Place {
	e := p.Evidence
	e.Value = path
	return Place{p.App, path, e}
}

// maxPlaces bounds the stores of one messenger below all home folders, and the names that a * stands for.
const maxPlaces = 10_000

// Locate returns the stores of a messenger that are there below the home folders. Links are not followed.
func (x *Index) Locate(app string, homes []string) []Place {
	var out []Place
	for i := range x.all {
		p := &x.all[i]
		if p.App != app {
			continue
		}
		for _, home := range homes {
			for _, path := range expand(home, strings.Split(p.Path, "/")) {
				if len(out) >= maxPlaces {
					return out
				}
				if !slices.ContainsFunc(out, func(o Place) bool { return o.Path == path }) {
					out = append(out, p.place(path))
				}
			}
		}
	}
	return out
}

// expand returns the paths below dir that names lead to, each of them there and no link.
func expand(dir string, names []string) []string {
	if len(names) == 0 {
		return []string{dir}
	}
	next := []string{names[0]}
	if names[0] == "*" {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil
		}
		next = nil
		for _, e := range entries[:min(len(entries), maxPlaces)] {
			next = append(next, e.Name())
		}
	}
	var out []string
	for _, name := range next {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil || len(names) > 1 && !info.IsDir() || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		out = append(out, expand(path, names[1:])...)
	}
	return out
}
