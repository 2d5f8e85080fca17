package judge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/beside"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Many messengers are a generic program, the same for all of its kind, that runs what lies beside it: Electron reads resources/app.asar
// (electronjs.org/docs, Application Packaging), NW.js package.nw (docs.nwjs.io, Package and Distribute). So what lies beside is judged with it.
const (
	generic     = 32 << 20   // generic programs with a browser in them are larger
	besidePart  = 1 << 20    // of a small program, in which the name of NW.js's library is looked for
	maxOpening  = 8          // folders that are opened at a time: one may never open
	maxManifest = 1 << 20    // of a folder that is a package's
	folders     = ^uint64(0) // in place of a device, of what is known of a folder
)

// names are where generic programs look, below their own folder: for a file, or a folder with a manifest.
func names() []string { return []string{"resources/app.asar", "package.nw", "resources/app"} }

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
		if info, err := os.Stat(filepath.Join(beside, "package.json")); err == nil && info.Mode().IsRegular() {
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
	switch {
	case all.reason != "":
	case err != nil:
		all.reason = event.ReasonTimeout
	case k.runtime() && !found.seen:
		all.reason = event.ReasonUnreadable
	}
	// A folder that is root's for us may be another one for whoever has mounts of his own: a known runtime is asked about each time.
	all.lasting = all.lasting && found.rooted && wire.RootOnly(&q.stat) && !k.runtime()
	for _, f := range found.files {
		part := *q.lookBeside(ctx, limited, f)
		part.programs = slices.Clone(part.programs)
		name := strings.TrimPrefix(f.path, filepath.Dir(q.path)+"/")
		for i := range part.programs {
			part.programs[i].Evidence = besides(name, part.programs[i].Evidence)
		}
		if q.judge.o.Mode.Locks() && !part.trusted && !f.trusted {
			all.unproven = unproven(all.unproven, len(all.programs), name)
		}
		all.programs = append(all.programs, part.programs...)
		all.recognised = all.recognised || part.recognised
		if all.reason == "" {
			all.reason = part.reason
		}
	}
	return &all
}

// unproven adds a file to those that lockdown asks about.
func unproven(m map[int]string, at int, name string) map[int]string {
	if m == nil {
		m = map[int]string{}
	}
	m[at] = name
	return m
}

// besides are facts about what lies beside a program, as facts about the program.
func besides(name string, facts []event.Evidence) []event.Evidence {
	out := slices.Clone(facts)
	for i := range out {
		out[i].Fact, out[i].Value = "beside:"+out[i].Fact, "electron app beside: "+name+": "+out[i].Value
	}
	return out
}

// part is a file beside a program, or a folder of files packed as one, and how it is known again. Unsure: its key does not tell every change.
type part struct {
	*os.File
	path    string
	key     wire.Key
	unsure  bool
	trusted bool // a folder of a package
}

// found is what lies beside a program.
type found struct {
	files  []part
	rooted bool // only root can change it, or add to it
	seen   bool // the program's folder is
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
		for _, root := range []string{"/proc/" + strconv.Itoa(int(q.ask.Thread)) + "/root", "/"} { // that of who starts it, and ours
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
	out := found{rooted: true, seen: true}
	for _, n := range names() {
		path := filepath.Join(filepath.Dir(q.path), n)
		folder := filepath.Dir(path)
		if statIn(at, folder, &st) {
			out.rooted = out.rooted && st.Uid == 0 && st.Mode&0o022 == 0
		}
		if p, ok := q.folderIn(at, path); ok {
			out.rooted = false
			out.files = append(out.files, p)
			continue
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
		key := wire.KeyOf(&st)
		settled := q.judge.o.Now().UnixNano()-key.Changed > int64(settle)
		out.files = append(out.files, part{File: f, path: path, key: key, unsure: !settled || !marksChanges(fd) || !q.rules.Identifier.Steady(key.Dev)})
	}
	return out, true
}

// folderIn packs the folder of an application as one file, which is known again by all the files in it.
func (q *question) folderIn(root *os.File, path string) (part, bool) {
	fd, err := openIn(root, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return part{}, false
	}
	defer unix.Close(fd)
	place, err := beside.Folder("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil || place == nil {
		return part{}, false
	}
	f, err := place.Packed()
	if err != nil {
		return part{}, false
	}
	sum := sha256.Sum256([]byte(place.Sum()))
	number := func(at int) uint64 { return binary.LittleEndian.Uint64(sum[at:]) }
	key := wire.Key{Dev: folders, Ino: number(0), Size: int64(number(8)), Changed: int64(number(16))}
	return part{File: f, path: path, key: key, unsure: !place.Settled(q.judge.o.Now()), trusted: q.packaged(fd)}, true
}

// packaged reports whether a folder is a package's: root alone can change it and its manifest, and that one is as a package brought it. What else is
// in it is then what lies there by the same hand.
func (q *question) packaged(folder int) bool {
	if !q.judge.o.Mode.Locks() || q.judge.o.Trust == nil {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(folder, &st) != nil || st.Uid != 0 || st.Mode&0o022 != 0 {
		return false
	}
	fd, err := unix.Openat(folder, "package.json", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "package.json")
	defer f.Close()
	return unix.Fstat(fd, &st) == nil && wire.RootOnly(&st) && st.Size <= maxManifest && q.rules.Identifier.Steady(st.Dev) && q.judge.o.Trust.Trusted(f)
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

// prove adds what lockdown asks of a file beside: whether a package brought it, and its own hash, also where it is no program by its format.
func (q *question) prove(k *known, f part) {
	if !q.judge.o.Mode.Locks() {
		return
	}
	if k.reason == "" && q.judge.o.Trust != nil {
		k.trusted = q.judge.o.Trust.Trusted(f.File)
	}
	if k.itself() {
		return
	}
	itself := []scan.Program{{Program: event.Program{Path: f.path, Size: f.key.Size}}} // without a hash nobody approved it
	if k.reason == "" && !k.trusted {
		if plain, reason := q.plain(f.File, f.path, ""); reason == "" {
			itself = plain
		}
	}
	k.programs = append(itself, k.programs...)
}

// lookBeside looks at a file beside, and closes it. It is known until it changes. What there was no time for is looked at afterwards.
func (q *question) lookBeside(ctx, limited context.Context, f part) *known {
	if k := q.judge.cache.get(f.key); k != nil {
		_ = f.Close()
		return k
	}
	look := func(ctx context.Context) *known {
		k := q.lookAt(ctx, f.File, f.path)
		q.prove(k, f)
		if k.reason == "" && !f.unsure {
			q.judge.cache.put(f.key, k)
		}
		return k
	}
	k := look(limited)
	if k.reason != event.ReasonTimeout || !q.later(ctx, func(ctx context.Context) { look(ctx); _ = f.Close() }) {
		_ = f.Close()
	}
	return k
}
