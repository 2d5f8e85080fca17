package logfile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/durable"
)

// How often the end of a file that was replaced is met before the new one is read: its writer may have something left, most of all as long as it
// has written nothing to the new one.
const (
	idleReads  = 4
	idleUnused = 240
)

// open opens the file that reading goes on in: where the position says, wherever that file was moved to, else the one at path.
func (f *Follower[E]) open() error {
	if f.at.Inode != 0 {
		old, err := f.find()
		if err != nil {
			return err
		}
		if old != nil {
			f.file = old
			return nil
		}
		f.batch.Lost = "the log that was read last is gone: it was rotated away, compressed or cut while nobody read"
	}
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	return f.begin(file)
}

// begin reads a file from its start.
func (f *Follower[E]) begin(file *os.File) error {
	device, inode, err := identity(file)
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.idle = file, 0
	f.at = position{Device: device, Inode: inode}
	return nil
}

// find looks for the file of the position: at path, or beside it under another name.
func (f *Follower[E]) find() (*os.File, error) {
	names := []string{f.path}
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != filepath.Base(f.path) {
			names = append(names, filepath.Join(filepath.Dir(f.path), e.Name()))
		}
	}
	for _, name := range names {
		if device, inode, err := identityAt(name); err != nil || device != f.at.Device || inode != f.at.Inode {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		if same, err := f.same(file); err != nil || same {
			return file, err
		}
		file.Close()
	}
	return nil, nil
}

// same reports whether a file begins as that of the position did, and is as long.
func (f *Follower[E]) same(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil || info.Size() < f.at.Offset {
		return false, err
	}
	head, err := headOf(file, f.at.HeadLen)
	return head == f.at.Head, err
}

// headOf returns the hash of the first bytes of a file.
func headOf(file *os.File, n int64) (string, error) {
	if n == 0 {
		return "", nil
	}
	b := make([]byte, n)
	if _, err := file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// mark notes how the file begins, once it has as much as is needed to tell.
func (f *Follower[E]) mark() error {
	if n := min(f.at.Offset, headBytes); n > f.at.HeadLen {
		head, err := headOf(f.file, n)
		if err != nil {
			return err
		}
		f.at.Head, f.at.HeadLen = head, n
	}
	return nil
}

// truncated begins anew when the file was cut, or written anew, in its place (copytruncate).
func (f *Follower[E]) truncated() error {
	same, err := f.same(f.file)
	if err != nil || same {
		return err
	}
	f.at = position{Device: f.at.Device, Inode: f.at.Inode}
	f.batch.Lost = "the log was cut in its place: what was written between the last reading and the cut may be missing"
	return nil
}

// replaced reports whether another file stands at path, and the one that is read has been at its end for a while.
func (f *Follower[E]) replaced() (bool, error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // it will come
	}
	if err != nil {
		return false, err
	}
	device, inode, err := identityAt(f.path)
	if err != nil || device == f.at.Device && inode == f.at.Inode {
		f.idle = 0
		return false, nil
	}
	f.idle++
	return f.idle > idleUnused || f.idle > idleReads && info.Size() > 0, nil
}

// next goes on to the file that was begun after this one: one that was rotated away meanwhile, else the one at path.
func (f *Follower[E]) next() error {
	old, err := f.file.Stat()
	if err != nil {
		return err
	}
	if err := f.forget(); err != nil {
		return err
	}
	f.left, f.leftAt, f.file = f.file, f.at.Offset, nil
	name := f.path
	for _, between := range f.rotated() {
		if between.info.ModTime().After(old.ModTime()) && !os.SameFile(between.info, old) {
			name = between.name
			break
		}
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := f.begin(file); err != nil {
		return err
	}
	return f.save()
}

// late looks whether the file that was read before grew after it was left: its writer took longer than anybody waited. It is watched until the
// next rotation or restart, and what was written to it is said to be lost once.
func (f *Follower[E]) late() error {
	if f.left == nil {
		return nil
	}
	info, err := f.left.Stat()
	if err != nil || info.Size() <= f.leftAt {
		return err
	}
	f.batch.Lost = "the log that was rotated away was still written to after the new one was begun: what came late was not read"
	return f.forget()
}

// forget stops watching the file that was read before.
func (f *Follower[E]) forget() error {
	if f.left == nil {
		return nil
	}
	err := f.left.Close()
	f.left = nil
	return err
}

type rotated struct {
	name string
	info os.FileInfo
}

// rotated lists what stands beside the log under its name and an ending, the oldest first. What was compressed is not read.
func (f *Follower[E]) rotated() []rotated {
	var names []string
	for _, ending := range []string{".*", "-*"} {
		found, err := filepath.Glob(escape(f.path) + ending)
		if err != nil {
			return nil
		}
		names = append(names, found...)
	}
	var out []rotated
	for _, n := range names {
		if slices.Contains([]string{".gz", ".xz", ".bz2", ".zst", ".tmp"}, filepath.Ext(n)) {
			continue
		}
		if info, err := os.Lstat(n); err == nil && info.Mode().IsRegular() {
			out = append(out, rotated{n, info})
		}
	}
	slices.SortFunc(out, func(a, b rotated) int {
		return cmp.Or(a.info.ModTime().Compare(b.info.ModTime()), strings.Compare(b.name, a.name))
	})
	return out
}

// escape makes a pattern of a path.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (f *Follower[E]) save() error {
	b, err := json.Marshal(f.at)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.keep), 0o700); err != nil {
		return err
	}
	return durable.Replace(f.keep, b, 0o600)
}
