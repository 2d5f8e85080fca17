//go:build unix

package reveal

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapped maps a file for reading, until the function that it returns is called.
func mapped(f *os.File, size int64) ([]byte, func() error, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return data, func() error { return unix.Munmap(data) }, nil
}
