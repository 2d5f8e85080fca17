// Package durable writes whole files so that power loss leaves the old one or the new one, and nothing between: the file is synced before
// it takes its name, and its folder after.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes the file, in the place of one that is there.
func Replace(path string, b []byte, mode fs.FileMode) error { return put(path, b, mode, os.Rename) }

// Place writes a file that must not be there: the whole of it is, or nothing. The file system must know hard links.
func Place(path string, b []byte, mode fs.FileMode) error { return put(path, b, mode, os.Link) }

// put writes the file beside its place, and gives it its name with take.
func put(path string, b []byte, mode fs.FileMode, take func(from, to string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename there is none
	if err := fill(f, b, mode); err != nil {
		return err
	}
	if err := take(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Create writes a file that must not be there, under its name from the start: for folders in which nothing can be renamed or removed. What
// it could not write whole it removes if it can.
func Create(path string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if err = fill(f, b, 0); err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

// fill writes, syncs and closes. A mode of 0 leaves the mode as it is.
func fill(f *os.File, b []byte, mode fs.FileMode) error {
	_, err := f.Write(b)
	if err == nil && mode != 0 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Overwrite is Replace, and then writes zeros over the bytes of the old file, as far as the file system lets us. On flash and copying file
// systems old bytes may remain: the threat model says so.
func Overwrite(path string, b []byte, mode fs.FileMode) error {
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Replace(path, b, mode)
	}
	if err != nil {
		return err
	}
	defer old.Close()
	if err := Replace(path, b, mode); err != nil {
		return err
	}
	info, err := old.Stat()
	if err != nil {
		return err
	}
	_, err = old.WriteAt(make([]byte, info.Size()), 0)
	return errors.Join(err, old.Sync())
}
