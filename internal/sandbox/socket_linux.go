package sandbox

import "golang.org/x/sys/unix"

const (
	noSignal     = unix.MSG_NOSIGNAL
	receiveFlags = unix.MSG_CMSG_CLOEXEC | unix.MSG_WAITALL
)

func socketPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// ownBinary is the file of this process, also when its name leads to another by now.
func ownBinary() string { return "/proc/self/exe" }
