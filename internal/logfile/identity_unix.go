//go:build unix

package logfile

import (
	"fmt"
	"os"
	"syscall"
)

// identity returns what tells an open file from all others.
func identity(file *os.File) (device, inode uint64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, 0, err
	}
	return identityOf(info)
}

// identityAt returns the identity of the file of that name, without opening it.
func identityAt(name string) (device, inode uint64, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, 0, err
	}
	return identityOf(info)
}

func identityOf(info os.FileInfo) (device, inode uint64, err error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return 0, 0, fmt.Errorf("%s is no regular file", info.Name())
	}
	return uint64(st.Dev), st.Ino, nil //nolint:unconvert // it has another type on other systems
}
