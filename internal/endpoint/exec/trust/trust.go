// Package trust knows what the package managers brought to a machine. By content: a program is trusted when a package of dpkg or rpm lists its
// checksum, in whatever place it lies and however it is called. And by file: which programs the packages of some names brought, dpkg's, rpm's and
// Flatpak's, and which snap a file is in. That is for what tells by its content nothing of who made it.
package trust

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what dpkg keeps; to pass, somebody would have to find a second text for a given sum
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	maxSums    = 4 << 20 // of all packages
	maxLine    = 64 << 10
	rpmTimeout = 2 * time.Minute
)

// Packages are the checksums of all installed packages. They do not change; a newer state is loaded anew.
type Packages struct {
	md5    map[[md5.Size]byte]struct{}
	sha256 map[[sha256.Size]byte]struct{}
}

// Load reads the databases of dpkg and rpm, whichever are there, below a root folder ("" for this machine's).
func Load(ctx context.Context, root string) (*Packages, error) {
	p := &Packages{md5: map[[md5.Size]byte]struct{}{}, sha256: map[[sha256.Size]byte]struct{}{}}
	lists, err := filepath.Glob(filepath.Join(root, "/var/lib/dpkg/info/*.md5sums"))
	if err != nil {
		return nil, fmt.Errorf("packages: %w", err)
	}
	for _, path := range lists {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("packages: %w", err)
		}
		err = errors.Join(p.read(f), f.Close())
		if err != nil {
			return nil, fmt.Errorf("packages: %s: %w", path, err)
		}
	}
	database := filepath.Join(root, "/var/lib/rpm") // where it moved to /usr, this is a link
	if _, err := os.Stat(database); root != "" && err != nil {
		return p, nil
	}
	if program, err := exec.LookPath("rpm"); err == nil {
		if err := p.rpm(ctx, program, root, database); err != nil {
			return nil, fmt.Errorf("packages: %w", err)
		}
	}
	return p, nil
}

// rpm asks rpm, whose database has several formats.
func (p *Packages) rpm(ctx context.Context, program, root, database string) error {
	ctx, cancel := context.WithTimeout(ctx, rpmTimeout)
	defer cancel()
	args := []string{"-qa", "--qf", `[%{FILEDIGESTS}  %{FILENAMES}\n]`}
	if root != "" {
		args = append(args, "--dbpath", database)
	}
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return fmt.Errorf("rpm: %w", err)
	}
	return p.read(bytes.NewReader(out))
}

// read reads lines that begin with a checksum.
func (p *Packages) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), " ")
		sum, err := hex.DecodeString(text)
		if err != nil {
			continue
		}
		if p.Len() >= maxSums {
			return fmt.Errorf("more than %d files", maxSums)
		}
		switch len(sum) {
		case md5.Size:
			p.md5[[md5.Size]byte(sum)] = struct{}{}
		case sha256.Size:
			p.sha256[[sha256.Size]byte(sum)] = struct{}{}
		}
	}
	return lines.Err()
}

// Len tells how many checksums are known.
func (p *Packages) Len() int { return len(p.md5) + len(p.sha256) }

// Trusted reports whether a package brought a file with this content. What cannot be read is not trusted.
func (p *Packages) Trusted(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	m, s := md5.New(), sha256.New() //nolint:gosec // see above
	var w []io.Writer
	if len(p.md5) > 0 {
		w = append(w, m)
	}
	if len(p.sha256) > 0 {
		w = append(w, s)
	}
	if _, err := io.Copy(io.MultiWriter(w...), io.NewSectionReader(f, 0, info.Size())); err != nil {
		return false
	}
	_, byMD5 := p.md5[[md5.Size]byte(m.Sum(nil))]
	_, bySHA := p.sha256[[sha256.Size]byte(s.Sum(nil))]
	return byMD5 || bySHA
}
