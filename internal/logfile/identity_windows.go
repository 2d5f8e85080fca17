package logfile

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// identity returns what tells an open file from all others.
func identity(file *os.File) (device, inode uint64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, 0, fmt.Errorf("%s is no regular file", file.Name())
	}
	var i windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(file.Fd()), &i); err != nil {
		return 0, 0, err
	}
	return uint64(i.VolumeSerialNumber), uint64(i.FileIndexHigh)<<32 | uint64(i.FileIndexLow), nil
}

// identityAt returns the identity of the file of that name.
func identityAt(name string) (device, inode uint64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	return identity(f)
}
