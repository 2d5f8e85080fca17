package quarantine

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
	"strings"
)

// kept is the folder of packages that were removed, below the quarantine.
const (
	kept       = "packages"
	copySuffix = ".deb"
)

// errKeep says what can be done instead.
var errKeep = errors.New("a copy of the package cannot be kept, so it is not removed; --quarantine moves the file away")

// keep keeps a copy of a package before it is removed, so that it comes back as it was, without a repository. Of other package managers than dpkg
// nothing is kept.
func (s *Store) keep(ctx context.Context, o Owner) error {
	if o.Manager != Dpkg {
		return nil
	}
	if err := Repack(ctx, o, o.Kept(s.path)); err != nil {
		return fmt.Errorf("%w: %w", errKeep, err)
	}
	return nil
}

// Repack makes a package again of what dpkg installed, as it is now: files, links, owners, modes, configuration and scripts (deb(5), dpkg-query(1)).
// It is whole at its place, or not there.
func Repack(ctx context.Context, o Owner, to string) error {
	dir := filepath.Dir(to)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.MkdirTemp(dir, ".making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	tree, made := filepath.Join(root, "tree"), filepath.Join(root, "deb")
	steps := []func() error{
		func() error { return control(ctx, o, tree) },
		func() error { return files(ctx, o, tree) },
		func() error { return run(ctx, nil, "dpkg-deb", "-Zgzip", "-z1", "--build", tree, made) },
		func() error { return os.Rename(made, to) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Kept is where a copy of the package lies after it was removed, in the quarantine at dir; "" when there is none.
func (o Owner) Kept(dir string) string {
	if o.Manager != Dpkg {
		return ""
	}
	return filepath.Join(dir, kept, strings.ReplaceAll(o.Package+"_"+o.Version, "/", "_")+copySuffix)
}

// control writes the part that describes the package.
func control(ctx context.Context, o Owner, tree string) error {
	folder := filepath.Join(tree, "DEBIAN")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.Chmod(tree, 0o755), os.Chmod(folder, 0o755)); err != nil { // whatever the umask
		return err
	}
	put := func(name string, text []byte, mode os.FileMode) error {
		path := filepath.Join(folder, name)
		return errors.Join(os.WriteFile(path, text, mode), os.Chmod(path, mode))
	}
	status, err := ask(ctx, "dpkg-query", "--status", "--", o.Package)
	if err != nil {
		return fmt.Errorf("dpkg-query: %w", err)
	}
	if err := put("control", stanza(status), 0o644); err != nil {
		return err
	}
	names, err := ask(ctx, "dpkg-query", "--control-list", o.Package)
	if err != nil {
		return fmt.Errorf("dpkg-query: %w", err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		if name != filepath.Base(name) || name == "control" {
			continue
		}
		text, err := ask(ctx, "dpkg-query", "--control-show", o.Package, name)
		if err != nil {
			return fmt.Errorf("dpkg-query: %w", err)
		}
		mode := os.FileMode(0o644)
		if bytes.HasPrefix(text, []byte("#!")) || bytes.HasPrefix(text, []byte("\x7fELF")) {
			mode = 0o755
		}
		if err := put(name, text, mode); err != nil {
			return err
		}
	}
	return nil
}

// stanza takes out what dpkg keeps of an installed package and a package does not say of itself.
func stanza(status []byte) []byte {
	var out bytes.Buffer
	leave := false
	for line := range bytes.Lines(status) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			leave = string(name) == "Status" || string(name) == "Conffiles" || string(name) == "Config-Version"
		}
		if !leave {
			out.Write(line)
		}
	}
	return out.Bytes()
}

// files copies what the package installed and is still there, with tar, which keeps all that a file has.
func files(ctx context.Context, o Owner, tree string) error {
	list, err := ask(ctx, "dpkg-query", "--listfiles", o.Package)
	if err != nil {
		return fmt.Errorf("dpkg-query: %w", err)
	}
	var there bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(list))
	for lines.Scan() {
		path := lines.Text()
		if !filepath.IsAbs(path) || path == "/." {
			continue // dpkg says of diversions that they are
		}
		if _, err := os.Lstat(path); err == nil {
			there.WriteString("." + path + "\x00")
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	archive := filepath.Join(filepath.Dir(tree), "tar")
	if err := run(ctx, &there, "tar", "--create", "--file", archive, "--directory", "/", "--no-recursion", "--acls", "--xattrs", "--null", "--files-from", "-"); err != nil {
		return err
	}
	return run(ctx, nil, "tar", "--extract", "--file", archive, "--directory", tree, "--same-owner", "--same-permissions", "--acls", "--xattrs", "--xattrs-include=*")
}

// run runs a command, without a shell.
func run(ctx context.Context, in io.Reader, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, errors.Join(err, lastLine(said.Bytes())))
	}
	return nil
}
