package scan

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/event"
)

const (
	batch    = 1024 // directory entries that are read at a time
	maxDepth = 2000 // directories within directories: each holds a descriptor
)

// Reasons that are not in package event's list.
const (
	reasonLoop    = "loop"    // a directory mounted within itself
	reasonChanged = "changed" // the file changed while it was read
)

// tree is one walk below one path.
type tree struct {
	s           *Scanner
	ctx         context.Context // of one Scan
	work, order chan<- *job
	device      uint64
	above       [][2]uint64 // device and inode of the directories above, to see loops
}

// walk walks all paths. A path that is a link is followed, as the caller named it; nothing below is.
func (s *Scanner) walk(ctx context.Context, paths []string, work, order chan<- *job) {
	for _, path := range paths {
		t := &tree{s: s, ctx: ctx, work: work, order: order}
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err != nil {
			t.problem(path, err)
			continue
		}
		dir, err := os.Open(filepath.Dir(real))
		if err != nil {
			t.problem(path, err)
			continue
		}
		t.entry(dir, filepath.Base(real), path, real, nil)
		dir.Close()
		if ctx.Err() != nil {
			return
		}
	}
}

// entry looks at one name in dir: a directory is walked, a regular file is queued, all else is passed by. kind is nil when unknown.
func (t *tree) entry(dir *os.File, name, path, real string, kind *fs.FileMode) {
	if kind != nil && !kind.IsDir() && !kind.IsRegular() {
		return // links, FIFOs, sockets and devices are not opened
	}
	if t.ctx.Err() != nil {
		return
	}
	f, err := openAt(dir, name, real)
	if err != nil {
		if kind == nil || !errors.Is(err, unix.ELOOP) { // became a link after it was listed: passed by as links are
			t.problem(path, err)
		}
		return
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		t.problem(path, err)
		return
	}
	if place, ok := t.s.history.Match(real); ok && !t.s.opts.NoHistory {
		t.send(&job{path: path, real: real, store: &place, stat: Stat{Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size}, uid: st.Uid})
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		t.directory(f, path, real, &st)
		f.Close()
	case unix.S_IFREG:
		t.send(&job{path: path, real: real, file: f, stat: Stat{Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size}, uid: st.Uid})
	default:
		f.Close()
		if kind == nil { // it was named
			t.say(path, "special-file", "a FIFO, a socket or a device is not opened")
		}
	}
}

// openAt opens name in dir for reading, never a link, never waiting for a FIFO's other end, and leaves the access time alone where it may.
func openAt(dir *os.File, name, real string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOATIME, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat(int(dir.Fd()), name, flags|unix.O_NOATIME, 0)
	}
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(int(dir.Fd()), name, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), real), nil
}

func (t *tree) directory(f *os.File, path, real string, st *unix.Stat_t) {
	id := [2]uint64{uint64(st.Dev), st.Ino}
	switch {
	case slices.Contains(t.above, id):
		t.say(path, reasonLoop, "a directory mounted within itself")
		return
	case len(t.above) >= maxDepth:
		t.say(path, event.ReasonTooDeep, "directories")
		return
	case len(t.above) == 0:
		t.device = id[0]
	case t.s.opts.OneFileSystem && id[0] != t.device:
		return
	}
	if kernelFS(f) || slices.Contains(t.s.opts.Skip, real) {
		return
	}
	t.above = append(t.above, id)
	defer func() { t.above = t.above[:len(t.above)-1] }()
	for t.ctx.Err() == nil {
		entries, err := f.ReadDir(batch)
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		for _, e := range entries {
			kind := e.Type()
			t.entry(f, e.Name(), join(path, e.Name()), join(real, e.Name()), &kind)
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.problem(path, err)
			return
		}
	}
}

// join joins without cleaning: names are bytes.
func join(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

// kernelFS reports whether a directory is on a file system that the kernel makes up: its files are no files.
func kernelFS(f *os.File) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false
	}
	switch int64(st.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.BPF_FS_MAGIC, unix.EFIVARFS_MAGIC,
		unix.PSTOREFS_MAGIC, unix.SELINUX_MAGIC, unix.BINFMTFS_MAGIC, unix.NSFS_MAGIC:
		return true
	}
	return false
}

// send queues a file for the workers and its results for delivery.
func (t *tree) send(j *job) {
	j.done = make(chan struct{})
	select {
	case t.order <- j:
	case <-t.ctx.Done():
		j.close()
		return
	}
	select {
	case t.work <- j:
	case <-t.ctx.Done():
		j.close()
		close(j.done)
	}
}

func (j *job) close() {
	if j.file != nil {
		j.file.Close()
	}
}

// problem queues the result that path could not be read.
func (t *tree) problem(path string, err error) {
	detail := err.Error()
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		detail = pathError.Err.Error()
	}
	t.say(path, event.ReasonUnreadable, detail)
}

func (t *tree) say(path, reason, detail string) {
	j := &job{path: path, done: make(chan struct{}), results: []Result{{Problem: &Problem{Path: path, Reason: reason, Detail: detail}}}}
	close(j.done)
	select {
	case t.order <- j:
	case <-t.ctx.Done():
	}
}
