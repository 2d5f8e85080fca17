package inspection

import (
	"path/filepath"
	"strings"
)

// shortNames returns what captures are called: the last part of each path, with as many before it as tell it from the others.
func shortNames(paths []string) map[string]string {
	names := map[string]string{}
	for _, p := range paths {
		names[p] = filepath.Base(p)
	}
	for range maxParts {
		taken := map[string][]string{}
		for p, name := range names {
			taken[name] = append(taken[name], p)
		}
		longer := false
		for name, of := range taken {
			for _, p := range of {
				if len(of) > 1 && len(name) < len(p) {
					names[p], longer = longerBy(p, name), true
				}
			}
		}
		if !longer {
			break
		}
	}
	return names
}

// maxParts bounds how much of a path tells it from others; of those that are alike further the whole path is told.
const maxParts = 64

// longerBy returns the end of a path that has one part more than another end of it.
func longerBy(path, end string) string {
	before := strings.TrimRight(strings.TrimSuffix(path, end), string(filepath.Separator))
	if i := strings.LastIndexByte(before, filepath.Separator); i >= 0 && i < len(before)-1 {
		return path[i+1:]
	}
	return path
}

// called returns what a capture or log is called.
func (r *Run) called(path string) string {
	if name, ok := r.names[path]; ok {
		return name
	}
	return filepath.Base(path)
}
