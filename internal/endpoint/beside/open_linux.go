package beside

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func keyOf(st *unix.Stat_t) key {
	return key{uint64(st.Dev), st.Ino, st.Size, st.Ctim.Nano(), st.Mode&unix.S_IFMT == unix.S_IFDIR}
}

// same reports whether path leads to the file that is open.
func same(f *os.File, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(int(f.Fd()), &a) == nil && unix.Stat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// stat describes what is at path: only folders and regular files.
func stat(path string) (key, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return key{}, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return key{}, unix.EINVAL
	}
	return keyOf(&st), nil
}

// regular opens the file at path, nil where there is none that is regular. Nothing happens by that: it is opened as a place first, and to be read
// only once it is known to be a regular file.
func regular(path string) (*os.File, key, bool, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG):
		return nil, key{}, false, nil
	case err != nil:
		return nil, key{}, false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, key{}, false, err
	}
	k := keyOf(&st)
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, k, false, nil
	}
	opened, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, k, false, err
	}
	return os.NewFile(uintptr(opened), path), k, marks(fd), nil
}

// marks reports whether the file system marks every change, also through a mapping.
func marks(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.SQUASHFS_MAGIC, unix.ISOFS_SUPER_MAGIC,
		unix.EROFS_SUPER_MAGIC_V1:
		return true
	}
	return false
}

// scratch is a file in memory.
func scratch() (*os.File, error) {
	fd, err := unix.MemfdCreate("beside", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("beside", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "beside"), nil
}

func discard(f *os.File) error { return f.Close() }
