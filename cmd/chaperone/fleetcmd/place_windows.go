package fleetcmd

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/windows"

	"github.com/chaperone-im/chaperone/internal/endpoint/history"
)

// statePlace is where the state lies: the default of other systems is in ProgramData here.
func statePlace(named string) string {
	if !strings.HasSuffix(filepath.ToSlash(named), ":/var/lib/chaperone-agent/fleet") && named != "/var/lib/chaperone-agent/fleet" {
		return named
	}
	data, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		return named
	}
	return filepath.Join(data, "chaperone-agent", "fleet")
}

// alsoScanned adds, where anything is scanned, the folders into which messengers install themselves for one user: nobody needs a right to write
// there, and the register that a user may write is not asked.
func alsoScanned(paths []string) []string {
	if len(paths) == 0 {
		return nil
	}
	out := slices.Clone(paths)
	for _, home := range history.Homes() {
		dir := filepath.Join(home, "AppData")
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && !slices.ContainsFunc(out, func(p string) bool { return below(dir, p) }) {
			out = append(out, dir)
		}
	}
	return out
}

// below reports whether a path is another or lies in it.
func below(path, above string) bool {
	if abs, err := filepath.Abs(above); err == nil {
		above = abs
	}
	path, above = strings.ToLower(path), strings.ToLower(strings.TrimRight(above, `\`))
	return path == above || strings.HasPrefix(path, above+`\`)
}

// lock takes a lock that ends with the process.
func lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
