// Package handle opens files and folders beneath opened folders, and tells what they are: the same on every system that is scanned.
//
// Nothing is followed: not a symbolic link, and on Windows not a junction, a volume that is mounted in a folder, or whatever else stands for
// another place. Nothing waits for the other end of a pipe, and times of last access stay as they are where the system allows it. A file is
// known again by device and inode, on Windows by the serial number of its volume and its index there.
package handle

import (
	"errors"
	"os"
	"strconv"
)

// ErrLink says that a name stands for another place, and was not followed.
var ErrLink = errors.New("it stands for another place, and is not followed")

// Kind is what a name leads to.
type Kind int

// Kinds. What is neither file, folder nor link is a pipe, a socket or a device.
const (
	Special Kind = iota
	Regular
	Folder
	Link
)

// Info is what a file is.
type Info struct {
	Dev, Ino           uint64
	Size               int64
	Stored             int64 // of Size, what it takes where it is stored: less in a file with holes
	Kind               Kind
	UID                uint32 // of its owner; 0 on Windows
	SID                string // of its owner, on Windows; "" when it cannot be asked
	Modified, Accessed int64  // in nanoseconds
	Changed            int64  // when the system itself says it changed, 0 where it does not
	Links              uint64
	Away               string // why its content is not on this machine; "" when it is
}

// Owner returns the number of the user whose file it is, on Windows his security identifier.
func (i *Info) Owner() string {
	if i.SID != "" {
		return i.SID
	}
	return unnamed(i.UID)
}

func number(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }

// Open opens name in dir for reading. dir may be nil: then name is an absolute path, of which only the last name must be no link. path is what
// the opened file is called.
func Open(dir *os.File, name, path string) (*os.File, error) { return open(dir, name, path) }

// Stat tells what an opened file is.
func Stat(f *os.File) (Info, error) { return stat(f) }

// StatAt tells what name in dir is, without following it.
func StatAt(dir *os.File, name string) (Info, error) { return statAt(dir, name) }
