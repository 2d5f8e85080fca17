package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// flatpakStore is where Flatpak keeps what is installed for all (flatpak(1), FILES).
const flatpakStore = "/var/lib/flatpak"

// errDeep ends a walk.
var errDeep = errors.New("too many files")

// Flatpak returns the programs of installed Flatpak applications of some names, below a root folder. Files of the same content are one there.
func Flatpak(root string, names []string) ([]Listed, error) {
	dir := filepath.Join(root, flatpakStore, "app")
	installed, err := folder(dir)
	if err != nil {
		return nil, err
	}
	var out []Listed
	for _, name := range installed {
		if !slices.Contains(names, name) {
			continue
		}
		seen := 0
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
			if seen++; seen > maxListed || len(out) >= maxListed {
				return errDeep
			}
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // what went meanwhile is nobody's
			}
			if info, err := d.Info(); err == nil && info.Mode()&0o111 != 0 {
				place, _ := filepath.Rel(filepath.Join("/", root), path) // both begin alike
				out = append(out, Listed{Package{"flatpak", name}, string(os.PathSeparator) + place, true})
			}
			return nil
		})
		if err != nil {
			return out, fmt.Errorf("packages: %s: %w", name, err)
		}
	}
	return out, nil
}
