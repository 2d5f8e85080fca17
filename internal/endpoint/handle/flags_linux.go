package handle

import "golang.org/x/sys/unix"

// noAccessTime keeps the time of last access, for the owner of a file and for root.
const noAccessTime = unix.O_NOATIME
