//go:build unix

package quarantine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
)

// Bounds of the extended attributes of one file.
const (
	maxXattrs    = 256
	maxXattrSize = 64 << 10
)

// openDir opens a folder by its absolute path, one component after the other, and follows no link.
func openDir(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if !filepath.IsAbs(path) {
		return nil, errors.New("path is not absolute")
	}
	fd, err := unix.Open("/", flags, 0)
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		next, err := unix.Openat(fd, name, flags, 0)
		_ = unix.Close(fd) // it was only read
		if err != nil {
			return nil, fmt.Errorf("open folder %s: %w", name, err)
		}
		fd = next
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openFile opens a regular file in dir: never a link, never waiting, and without changing its access time where that is allowed.
func openFile(dir *os.File, name string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), name, flags|noAccessTime, 0)
	if noAccessTime != 0 && errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(int(dir.Fd()), name, flags, 0)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, ErrChanged
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func unlink(dir *os.File, name string) error { return unix.Unlinkat(int(dir.Fd()), name, 0) }

// copyTo copies f into dir under a name that is not taken yet, with everything the item says of it, and checks the copy.
func copyTo(dir *os.File, name string, f *os.File, i Item) (err error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	out := os.NewFile(uintptr(fd), name)
	defer out.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, unlink(dir, name))
		}
	}()
	if _, err := io.Copy(out, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	sum, err := digest(out)
	if err != nil {
		return err
	}
	if sum != i.SHA256 {
		return ErrChanged
	}
	if err := setMeta(out, i); err != nil {
		return err
	}
	return out.Sync()
}

// setMeta gives f the owner, mode, attributes and times of the item: in this order, since each may undo the one before.
func setMeta(f *os.File, i Item) error {
	fd := int(f.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid != i.UID || st.Gid != i.GID {
		if err := unix.Fchown(fd, int(i.UID), int(i.GID)); err != nil {
			return fmt.Errorf("give back to its owner: %w", err)
		}
	}
	if err := fchmod(fd, i.Mode); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	have, err := xattrs(f)
	if err != nil {
		return err
	}
	for name, value := range i.Xattrs {
		if old, ok := have[name]; ok && slices.Equal(old, value) {
			continue
		}
		if err := unix.Fsetxattr(fd, name, value, 0); err != nil {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	if err := setTimes(fd, i); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// xattrs reads all extended attributes.
func xattrs(f *os.File) (map[string][]byte, error) {
	fd := int(f.Fd())
	buf := make([]byte, maxXattrSize)
	n, err := unix.Flistxattr(fd, buf)
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	if len(names) > maxXattrs {
		return nil, fmt.Errorf("more than %d attributes", maxXattrs)
	}
	out := map[string][]byte{}
	for _, name := range names {
		n, err := unix.Fgetxattr(fd, name, buf)
		if err != nil {
			return nil, fmt.Errorf("read attribute %s: %w", name, err)
		}
		out[name] = slices.Clone(buf[:n])
	}
	return out, nil
}

// openStore opens the folder of a store, which is there.
func openStore(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// protect makes sure that only its owner enters the folder.
func protect(dir *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("quarantine: %s belongs to another user", dir.Name())
	}
	if st.Mode&0o077 != 0 {
		if err := fchmod(int(dir.Fd()), 0o700); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	return nil
}

// writeNew makes a file, in the place of one that a crash left, and opens it for writing.
func writeNew(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// replace gives a file of dir another name, also one that is taken.
func replace(dir *os.File, name, as string) error {
	return unix.Renameat(int(dir.Fd()), name, int(dir.Fd()), as)
}

// syncDir makes what happened to the names of a folder durable.
func syncDir(dir *os.File) error { return dir.Sync() }

// otherVolume reports whether a file cannot be renamed because it is on another file system.
func otherVolume(err error) bool { return errors.Is(err, unix.EXDEV) }

// meta writes down all of a file that must come back.
func meta(f *os.File, i *Item) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	var err error
	i.Mode, i.UID, i.GID = uint32(st.Mode)&0o7777, st.Uid, st.Gid
	i.Xattrs, err = xattrs(f)
	return err
}

// lock keeps a file that was taken from all but administrators: the folder does.
func lock(*os.File, string, handle.Info) error { return nil }

// unlock makes a file what it was, before it goes back.
func unlock(_ *os.File, f *os.File, i Item) error { return setMeta(f, i) }
