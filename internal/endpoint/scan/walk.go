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
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
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
	trusted     bool        // the file system of this directory tells when files change
	asked       time.Time   // whether to wait
}

// walk walks all paths. A path that is a link is followed, as the caller named it; nothing below is.
func (s *Scanner) walk(ctx context.Context, paths []string, work, order chan<- *job) {
	for _, path := range paths {
		t := &tree{s: s, ctx: ctx, work: work, order: order}
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		switch {
		case errors.Is(err, syscall.ENAMETOOLONG) && filepath.IsAbs(path):
			t.far(path)
		case err != nil:
			t.problem(path, err)
		default:
			t.entry(nil, real, path, real, nil)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// far looks at a path that is longer than the system takes at once, as a walk finds them: folder after folder, and through no link.
func (t *tree) far(path string) {
	root := filepath.VolumeName(path) + string(filepath.Separator)
	dir, err := handle.Open(nil, root, root)
	at, rest := root, strings.Trim(path[len(root):], string(filepath.Separator))
	for err == nil {
		name, more, folder := strings.Cut(rest, string(filepath.Separator))
		if !folder {
			t.entry(dir, name, path, path, nil)
			dir.Close()
			return
		}
		var next *os.File
		at, rest = join(at, name), strings.TrimLeft(more, string(filepath.Separator))
		next, err = handle.Open(dir, name, at)
		dir.Close()
		dir = next
	}
	t.problem(path, err)
}

// entry looks at one name in dir: a directory is walked, a regular file is queued, all else is passed by. dir and kind are nil for what the
// caller named.
func (t *tree) entry(dir *os.File, name, path, real string, kind *fs.FileMode) {
	if kind != nil && !kind.IsDir() && !kind.IsRegular() {
		t.passBy(*kind, path, real) // links, FIFOs, sockets and devices are not opened
		if *kind&fs.ModeIrregular == 0 {
			return
		}
	}
	if t.ctx.Err() != nil {
		return
	}
	if kind != nil && kind.IsRegular() && t.known(dir, name, real) {
		return
	}
	f, err := handle.Open(dir, name, real)
	if err != nil {
		if kind == nil || !errors.Is(err, handle.ErrLink) { // became a link after it was listed: passed by as links are
			t.problem(path, err)
		}
		return
	}
	st, err := handle.Stat(f)
	if err != nil {
		f.Close()
		t.problem(path, err)
		return
	}
	t.opened(f, path, real, &st, kind == nil)
}

// opened walks a directory, and queues a file. named: the caller did.
func (t *tree) opened(f *os.File, path, real string, st *handle.Info, named bool) {
	if place, ok := t.s.history.Match(real); ok && !t.s.opts.NoHistory {
		t.send(&job{path: path, real: real, store: &place, stat: Stat{Dev: st.Dev, Ino: st.Ino, Size: st.Size}, owner: st.Owner()})
	}
	switch {
	case st.Kind == handle.Folder:
		if list, err := t.s.streams.list(f); err != nil || len(list) > 0 {
			t.send(&job{path: path, real: real, folder: true, stat: Stat{Dev: st.Dev, Ino: st.Ino}, owner: st.Owner()})
		}
		t.directory(f, path, real, st)
		f.Close()
	case st.Away != "":
		f.Close()
		t.say(path, event.ReasonUnreadable, st.Away)
	case st.Kind == handle.Regular:
		j := &job{path: path, real: real, file: f, stat: Stat{Dev: st.Dev, Ino: st.Ino, Size: st.Size}, stored: st.Stored, owner: st.Owner()}
		if t.trusted && t.s.opts.Memory != nil {
			j.key, j.opened = keyOf(st), t.s.opts.Now()
		}
		t.send(j)
	default:
		f.Close()
		if named {
			t.say(path, "special-file", "a FIFO, a socket or a device is not opened")
		}
	}
}

func (t *tree) directory(f *os.File, path, real string, st *handle.Info) {
	id := [2]uint64{st.Dev, st.Ino}
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
	kernel, local := fileSystem(f)
	if kernel || slices.ContainsFunc(t.s.opts.Skip, func(skip string) bool { return samePath(skip, real) }) {
		return
	}
	trusted := t.trusted
	t.trusted = local && t.s.opts.Memory != nil && t.s.places.medium(id[0]) != mediaRemovable
	t.above = append(t.above, id)
	defer func() { t.above, t.trusted = t.above[:len(t.above)-1], trusted }()
	for t.ctx.Err() == nil {
		entries, err := f.ReadDir(batch)
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		for _, e := range entries {
			t.wait()
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
	if dir != "" && os.IsPathSeparator(dir[len(dir)-1]) {
		return dir + name
	}
	return dir + string(filepath.Separator) + name
}

// known passes by a file that was looked into before: it is only asked when it changed. A store of a messenger is described each time.
func (t *tree) known(dir *os.File, name, real string) bool {
	if !t.trusted {
		return false
	}
	st, err := handle.StatAt(dir, name)
	if err != nil || st.Kind != handle.Regular || !t.s.opts.Memory.Known(keyOf(&st)) {
		return false
	}
	if _, store := t.s.history.Match(real); store && !t.s.opts.NoHistory {
		return false
	}
	t.s.files.Add(1)
	t.s.known.Add(1)
	t.s.bytes.Add(st.Stored)
	return true
}

func keyOf(st *handle.Info) rescan.Key {
	return rescan.Key{Dev: st.Dev, Ino: st.Ino, Size: st.Size, Changed: st.Changed}
}

const pauseEvery = time.Second

// wait waits while the caller wants the scan to.
func (t *tree) wait() {
	if t.s.opts.Pause == nil || time.Since(t.asked) < pauseEvery {
		return
	}
	for t.s.opts.Pause() {
		select {
		case <-time.After(pauseEvery):
		case <-t.ctx.Done():
			return
		}
	}
	t.asked = time.Now()
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
