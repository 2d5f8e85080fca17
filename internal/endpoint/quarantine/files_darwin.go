package quarantine

import (
	"os"

	"golang.org/x/sys/unix"
)

const noAccessTime = 0

// rename moves an entry and replaces nothing.
func rename(from *os.File, name string, to *os.File, as string) error {
	return unix.RenameatxNp(int(from.Fd()), name, int(to.Fd()), as, unix.RENAME_EXCL)
}

func fchmod(fd int, mode uint32) error { return unix.Fchmod(fd, mode) }

// setTimes knows microseconds here: what is below is lost.
func setTimes(fd int, i Item) error {
	return unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(i.Accessed), unix.NsecToTimeval(i.Modified)})
}
