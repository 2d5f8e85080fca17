package quarantine

import (
	"os"

	"golang.org/x/sys/unix"
)

const noAccessTime = unix.O_NOATIME

// rename moves an entry and replaces nothing.
func rename(from *os.File, name string, to *os.File, as string) error {
	return unix.Renameat2(int(from.Fd()), name, int(to.Fd()), as, unix.RENAME_NOREPLACE)
}

func fchmod(fd int, mode uint32) error { return unix.Fchmod(fd, mode) }

func setTimes(fd int, i Item) error {
	times := []unix.Timespec{unix.NsecToTimespec(i.Accessed), unix.NsecToTimespec(i.Modified)}
	return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
}
