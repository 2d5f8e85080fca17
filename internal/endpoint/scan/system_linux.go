package scan

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// samePath reports whether two paths that are free of links are the same.
func samePath(a, b string) bool { return a == b }

// passBy says what about a name that is no file and no directory is worth saying: nothing.
func (t *tree) passBy(fs.FileMode, string, string) {}

// fileSystem tells whether a directory is on a file system that the kernel makes up, whose files are no files, and whether it is on one of a
// local disk that keeps the time of the last change itself. In memory (tmpfs) a mapped file changes without that time, and on a network or
// in user space somebody else keeps it.
func fileSystem(f *os.File) (kernel, local bool) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false, false
	}
	switch int64(st.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.BPF_FS_MAGIC, unix.EFIVARFS_MAGIC,
		unix.PSTOREFS_MAGIC, unix.SELINUX_MAGIC, unix.BINFMTFS_MAGIC, unix.NSFS_MAGIC:
		return true, false
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1, unix.OVERLAYFS_SUPER_MAGIC:
		return false, true
	}
	return false, false
}
