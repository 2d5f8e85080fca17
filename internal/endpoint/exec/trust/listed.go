package trust

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxListed = 1 << 18  // files of packages that are asked about
	maxList   = 16 << 20 // bytes of one list
	maxNames  = 1 << 20  // of files in a folder
)

// Package is a package by its manager and its name there.
type Package struct{ Manager, Name string }

// Listed is a file that a package brought.
type Listed struct {
	Package
	Path   string
	Shared bool // files with the same content are one: who else has it is not known
}

// errMany says that packages list more than is held.
var errMany = fmt.Errorf("packages list more than %d files", maxListed)

// Dpkg returns what packages of some names brought, as the lists of dpkg below a root folder say ("" for this machine's). A list that cannot be
// read is skipped, and told with what could be read.
func Dpkg(root string, names []string) ([]Listed, error) {
	dir := filepath.Join(root, "/var/lib/dpkg/info")
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	var out []Listed
	var errs []error
	files, err := folder(dir) // once: there are thousands of lists, and each package may have one for each architecture
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		name, ok := strings.CutSuffix(file, ".list")
		name, _, _ = strings.Cut(name, ":")
		if !ok || !wanted[name] {
			continue
		}
		more, err := readList(filepath.Join(dir, file), Package{"deb", name}, maxListed-len(out))
		out, errs = append(out, more...), append(errs, err)
	}
	return out, errors.Join(errs...)
}

// folder returns the sorted names of the files in a folder, none where there is no folder.
func folder(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("packages: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("packages: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// readList reads a list of dpkg: a path a line.
func readList(path string, p Package, room int) ([]Listed, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // the package went just now
	} else if err != nil {
		return nil, fmt.Errorf("packages: %w", err)
	}
	defer f.Close()
	out, err := parseList(io.LimitReader(f, maxList), room, func(line string) (Package, string) { return p, line })
	if err != nil {
		return out, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// parseList takes the paths out of lines.
func parseList(r io.Reader, room int, parse func(string) (Package, string)) ([]Listed, error) {
	var out []Listed
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		p, path := parse(lines.Text())
		if p.Name == "" || !filepath.IsAbs(path) || path == "/." {
			continue
		}
		if len(out) >= room {
			return out, errMany
		}
		out = append(out, Listed{Package: p, Path: path})
	}
	if err := lines.Err(); err != nil {
		return out, fmt.Errorf("packages: %w", err)
	}
	return out, nil
}

// mark begins the lines in which rpm names a file, among those that say which packages are not there.
const mark = "chaperone\t"

// RPM asks rpm what packages of some names brought. It starts a program, so it may take a while.
func RPM(ctx context.Context, root string, names []string) ([]Listed, error) {
	program, err := exec.LookPath("rpm")
	if err != nil || len(names) == 0 {
		return nil, nil //nolint:nilerr // without rpm there are no packages of it
	}
	ctx, cancel := context.WithTimeout(ctx, rpmTimeout)
	defer cancel()
	args := []string{"-q", "--qf", "[" + mark + `%{=NAME}\t%{FILENAMES}\n]`}
	if root != "" {
		args = append(args, "--dbpath", filepath.Join(root, "/var/lib/rpm"))
	}
	cmd := exec.CommandContext(ctx, program, append(append(args, "--"), names...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() && !strings.Contains(said.String(), "error:") {
		err = nil // it counts the packages that are not there
	}
	if err != nil {
		return nil, fmt.Errorf("packages: rpm: %w: %.200q", err, said.String())
	}
	return parseList(bytes.NewReader(out), maxListed, parseRPM)
}

func parseRPM(line string) (Package, string) {
	rest, ok := strings.CutPrefix(line, mark)
	name, path, _ := strings.Cut(rest, "\t")
	if !ok {
		return Package{}, ""
	}
	return Package{"rpm", name}, path
}
