//go:build !linux

package beside

import (
	"errors"
	"io/fs"
	"os"
)

func keyOf(info fs.FileInfo) key {
	return key{Size: info.Size(), Changed: info.ModTime().UnixNano(), Folder: info.IsDir()}
}

// same reports whether path leads to the file that is open.
func same(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// stat describes what is at path: only folders and regular files.
func stat(path string) (key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return key{}, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return key{}, fs.ErrInvalid
	}
	return keyOf(info), nil
}

// regular opens the file at path, nil where there is none that is regular.
func regular(path string) (*os.File, key, bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, key{}, false, nil
	case err != nil:
		return nil, key{}, false, err
	}
	k := keyOf(info)
	if !info.Mode().IsRegular() {
		return nil, k, false, nil
	}
	f, err := os.Open(path)
	return f, k, false, err
}

// scratch is a file that nobody else needs.
func scratch() (*os.File, error) { return os.CreateTemp("", "beside-") }

func discard(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }
