//go:build unix

package handle

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func unnamed(uid uint32) string { return number(uid) }

func open(dir *os.File, name, path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	at := unix.AT_FDCWD
	if dir != nil {
		at = int(dir.Fd())
	}
	fd, err := unix.Openat(at, name, flags|noAccessTime, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat(at, name, flags|noAccessTime, 0)
	}
	if noAccessTime != 0 && errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(at, name, flags, 0)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, &os.PathError{Op: "open", Path: path, Err: ErrLink}
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func stat(f *os.File) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Info{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return info(&st), nil
}

func statAt(dir *os.File, name string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Info{}, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return info(&st), nil
}

func info(st *unix.Stat_t) Info {
	i := Info{Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, Stored: stored(st.Size, st.Blocks), UID: st.Uid, Links: uint64(st.Nlink),
		Modified: st.Mtim.Nano(), Accessed: st.Atim.Nano(), Changed: st.Ctim.Nano()}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		i.Kind = Regular
	case unix.S_IFDIR:
		i.Kind = Folder
	case unix.S_IFLNK:
		i.Kind = Link
	}
	return i
}

// stored is what a file takes of its size. A file system may keep a small one without a block.
func stored(size, blocks int64) int64 {
	const block, inline = 512, 4096 // stat(2): blocks are of 512 bytes
	return min(size, max(blocks*block, inline))
}
