//go:build unix

package history

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const maxHomes = 100_000

// Homes returns the home folders of this machine: those of its accounts, and all that lie beside them in /home, on macOS in /Users.
func Homes() []string {
	homes := []string{"/root", "/var/root"}
	if f, err := os.Open("/etc/passwd"); err == nil {
		homes = append(homes, passwd(f)...)
		_ = f.Close() // it was only read
	}
	for _, above := range []string{"/home", "/Users"} { // the latter on macOS
		entries, err := os.ReadDir(above)
		if err != nil {
			continue
		}
		for _, e := range entries[:min(len(entries), maxHomes)] {
			homes = append(homes, filepath.Join(above, e.Name()))
		}
	}
	var out []string
	for _, h := range homes {
		if info, err := os.Stat(h); err == nil && info.IsDir() && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// passwd reads the home folders of passwd(5): not those of accounts that live in the root folder.
func passwd(r io.Reader) []string {
	var out []string
	lines := bufio.NewScanner(r)
	for lines.Scan() && len(out) < maxHomes {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 7 {
			continue
		}
		if home := filepath.Clean(fields[5]); filepath.IsAbs(home) && home != "/" {
			out = append(out, home)
		}
	}
	return out
}
