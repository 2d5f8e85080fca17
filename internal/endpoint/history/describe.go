package history

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
)

// Bounds of one store.
const (
	maxFiles = 500_000
	maxDepth = 64
	hashUpTo = 4 << 30 // bytes of a store whose contents are hashed
)

// ErrTooLarge says that a store has more files or folders within folders than are looked at.
var ErrTooLarge = errors.New("history: more files than are looked at")

// Description is what is known of a store. Files that could not be read are counted, and stand in the digest by name, size and time.
type Description struct {
	Folder      bool
	Files       int64
	Size        int64
	Unread      int64
	UID         uint32 // of the owner; on Windows 0, and Owner says whose it is
	Owner       string // number of the owner, on Windows his security identifier
	Dev, Ino    uint64
	First, Last time.Time // modified, of the files in it; zero when there are none
	SHA256      string    // of the file; of a folder, over its list (see Describe)
	Whole       bool      // the digest covers all contents, not only names, sizes and times
}

// Describe looks at a store without following links and without changing when it was last read, where the system allows that. The digest of a
// folder is that of its list: a line for each regular file in the order of their paths, "path\tsize\tmodified in nanoseconds\tSHA-256\n".
// Past hashUpTo bytes the last field is "-".
func Describe(ctx context.Context, path string) (Description, error) {
	f, err := open(path)
	if err != nil {
		return Description{}, fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	st, err := handle.Stat(f)
	if err != nil {
		return Description{}, fmt.Errorf("history: %w", err)
	}
	w := &walk{ctx: ctx, sum: sha256.New(), d: Description{UID: st.UID, Owner: st.Owner(), Dev: st.Dev, Ino: st.Ino, Whole: true}}
	switch st.Kind {
	case handle.Folder:
		w.d.Folder = true
		err = w.folder(f, "", 0)
		w.d.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	case handle.Regular:
		w.d.SHA256 = w.file(f, &st)
	default:
		err = errors.New("neither a file nor a folder")
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return w.d, fmt.Errorf("history: %w", err)
	}
	return w.d, nil
}

// open opens a path: links lead to it, as the caller named it, but it is none itself.
func open(path string) (*os.File, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	parent, err := handle.Open(nil, dir, dir)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return handle.Open(parent, filepath.Base(path), filepath.Base(path))
}

type walk struct {
	ctx context.Context // of one Describe
	sum hash.Hash
	d   Description
}

// folder adds all below a folder, in the order of paths.
func (w *walk) folder(dir *os.File, prefix string, depth int) error {
	if depth > maxDepth {
		return ErrTooLarge
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(dir, prefix, name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(dir *os.File, prefix, name string, depth int) error {
	st, err := handle.StatAt(dir, name)
	if err != nil {
		w.d.Unread++ // gone, or a name that cannot be looked at
		return nil
	}
	if st.Kind != handle.Folder && st.Kind != handle.Regular {
		return nil // links, sockets and pipes hold nothing
	}
	f, err := handle.Open(dir, name, name)
	if err != nil {
		w.d.Unread++
		if st.Kind == handle.Regular {
			w.count(&st)
			w.line(prefix+name, &st, "-")
		}
		return nil
	}
	defer f.Close()
	if st.Kind == handle.Folder {
		return w.folder(f, prefix+name+"/", depth+1)
	}
	if st, err = handle.Stat(f); err != nil || st.Kind != handle.Regular {
		w.d.Unread++
		return nil
	}
	w.line(prefix+name, &st, w.file(f, &st))
	if w.d.Files > maxFiles {
		return ErrTooLarge
	}
	return nil
}

// file counts a file and returns the digest of its content, "-" when it is not made.
func (w *walk) file(f *os.File, st *handle.Info) string {
	w.count(st)
	if st.Away != "" || w.d.Size > hashUpTo {
		w.d.Whole = false
		return "-"
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(stopping{w.ctx, f}, hashUpTo)); err != nil {
		w.d.Unread++
		w.d.Whole = false
		return "-"
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (w *walk) count(st *handle.Info) {
	w.d.Files++
	w.d.Size += st.Size
	modified := time.Unix(0, st.Modified).UTC()
	if w.d.First.IsZero() || modified.Before(w.d.First) {
		w.d.First = modified
	}
	if modified.After(w.d.Last) {
		w.d.Last = modified
	}
}

// line adds a file to the list. A tab or line end in a name stands for itself as a question mark, so that a line is one file.
func (w *walk) line(path string, st *handle.Info, sum string) {
	if sum == "-" {
		w.d.Whole = false
	}
	path = strings.NewReplacer("\t", "?", "\n", "?").Replace(path)
	fmt.Fprintf(w.sum, "%s\t%d\t%d\t%s\n", path, st.Size, st.Modified, sum)
}

// stopping reads until the context ends.
type stopping struct {
	ctx context.Context // of one Describe
	r   io.Reader
}

// Read reads.
func (s stopping) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
