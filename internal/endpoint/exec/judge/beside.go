package judge

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Many messengers are a generic program, the same for all of its kind, that runs what lies beside it: Electron reads resources/app.asar
// (electronjs.org/docs, Application Packaging), NW.js package.nw (docs.nwjs.io, Package and Distribute). So what lies beside is judged with it.
const (
	generic    = 32 << 20 // generic programs with a browser in them are larger
	besidePart = 1 << 20  // of a small program, in which the name of NW.js's library is looked for
	maxOpening = 8        // folders that are opened at a time: one may never open
)

// names are where generic programs look, below their own folder.
func names() []string { return []string{"resources/app.asar", "package.nw"} }

// Beside returns what a generic program at a path would run, "" when there is nothing.
func Beside(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	f, err := os.Open(real)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !isGeneric(f, info.Size()) {
		return ""
	}
	for _, n := range names() {
		beside := filepath.Join(filepath.Dir(real), n)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside
		}
	}
	return ""
}

// isGeneric reports whether a file may be a generic program.
func isGeneric(f *os.File, size int64) bool {
	if size >= generic {
		return true
	}
	b := make([]byte, min(size, besidePart))
	n, _ := f.ReadAt(b, 0) // what is not there says nothing
	return bytes.Contains(b[:n], []byte("libnw.so\x00"))
}

// withBeside adds to what is known of a generic program what lies beside it. That may change while the program stays the same: it is looked at
// with each start, unless only root can change it.
func (q *question) withBeside(ctx context.Context, k *known) *known {
	if !k.generic {
		return k
	}
	limited, cancel := context.WithDeadline(ctx, q.begun.Add(q.judge.o.Timeout))
	defer cancel()
	all := *k
	all.programs, all.own = slices.Clone(k.programs), len(k.programs)
	found, err := q.openBeside(limited)
	if err != nil && all.reason == "" {
		all.reason = event.ReasonTimeout
	}
	all.lasting = all.lasting && found.rooted && wire.RootOnly(&q.stat)
	for _, f := range found.files {
		part := q.lookBeside(ctx, limited, f)
		all.programs = append(all.programs, part.programs...)
		all.recognised = all.recognised || part.recognised
		if all.reason == "" {
			all.reason = part.reason
		}
	}
	return &all
}

// found is what lies beside a program.
type found struct {
	files  []*os.File
	rooted bool // only root can change it, or add to it
}

// openBeside opens what lies beside the program. Folders and files may lead to where nobody answers, so this is not waited for longer than ctx
// lasts.
func (q *question) openBeside(ctx context.Context) (found, error) {
	select {
	case q.judge.opening <- struct{}{}:
	default:
		return found{}, context.DeadlineExceeded
	}
	done := make(chan found, 1)
	go func() {
		defer func() { <-q.judge.opening }()
		for _, root := range []string{"/", "/proc/" + strconv.Itoa(int(q.ask.Thread)) + "/root"} { // ours, and that of who starts it
			if f, ok := q.openIn(root); ok {
				done <- f
				return
			}
		}
		done <- found{} // it has no name any more, or one that nobody sees from here
	}()
	select {
	case f := <-done:
		return f, nil
	case <-ctx.Done():
		go func() {
			for _, f := range (<-done).files {
				_ = f.Close()
			}
		}()
		return found{}, context.DeadlineExceeded
	}
}

// openIn opens what lies beside the program as seen from a root, when the program is there.
func (q *question) openIn(root string) (found, bool) {
	at, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return found{}, false
	}
	defer at.Close()
	var st unix.Stat_t
	if !statIn(at, q.path, &st) || st.Ino != q.stat.Ino || st.Dev != q.stat.Dev {
		return found{}, false
	}
	out := found{rooted: true}
	for _, n := range names() {
		path := filepath.Join(filepath.Dir(q.path), n)
		folder := filepath.Dir(path)
		if statIn(at, folder, &st) {
			out.rooted = out.rooted && st.Uid == 0 && st.Mode&0o022 == 0
		}
		fd, err := openIn(at, path, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), path)
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			_ = f.Close()
			continue
		}
		out.rooted = out.rooted && wire.RootOnly(&st)
		out.files = append(out.files, f)
	}
	return out, true
}

// openIn opens a path below a root, which links do not leave.
func openIn(root *os.File, path string, flags int) (int, error) {
	fd, err := unix.Openat2(int(root.Fd()), path, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.6
		return unix.Openat(int(root.Fd()), "."+path, flags|unix.O_CLOEXEC, 0)
	}
	return fd, err
}

func statIn(root *os.File, path string, st *unix.Stat_t) bool {
	fd, err := openIn(root, path, unix.O_PATH)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Fstat(fd, st) == nil
}

// lookBeside looks at a file beside, and closes it. It is known until it changes. What there was no time for is looked at afterwards.
func (q *question) lookBeside(ctx, limited context.Context, f *os.File) *known {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	key := wire.KeyOf(&st)
	if k := q.judge.cache.get(key); k != nil || err != nil {
		_ = f.Close()
		return cmp.Or(k, &known{reason: event.ReasonUnreadable})
	}
	look := func(ctx context.Context) *known {
		k := q.lookAt(ctx, f, f.Name())
		settled := q.judge.o.Now().UnixNano()-key.Changed > int64(settle)
		if k.reason == "" && settled && marksChanges(int(f.Fd())) && q.rules.Identifier.Steady(key.Dev) {
			q.judge.cache.put(key, k)
		}
		return k
	}
	k := look(limited)
	if k.reason != event.ReasonTimeout || !q.later(ctx, func(ctx context.Context) { look(ctx); _ = f.Close() }) {
		_ = f.Close()
	}
	return k
}
