package reveal

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapped maps a file for reading, until the function that it returns is called.
func mapped(f *os.File, size int64) ([]byte, func() error, error) {
	section, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	defer windows.CloseHandle(section)
	at, err := windows.MapViewOfFile(section, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, err
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), size), func() error { return windows.UnmapViewOfFile(at) }, nil
}
