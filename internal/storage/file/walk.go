package file

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/chaperone-im/chaperone/internal/journal"
)

const readBuffer = 256 << 10

// walker yields the frames of segments in order and checks that each continues the one before.
type walker struct {
	ctx   context.Context
	next  uint64 // sequence of the frame to yield next
	limit uint64 // the last one to yield
	open  bool   // there is no limit: another process writes the stream, and may be at its last frame
	at    place  // where it begins, when that is known
	yield func(journal.Frame, error) bool
}

// segment yields one segment's frames, and reports whether to go on with the next segment.
func (w *walker) segment(s segment, last bool) bool {
	fail := func(err error) bool {
		w.yield(journal.Frame{}, fmt.Errorf("%s: %w", s.path, err))
		return false
	}
	file, err := os.Open(s.path)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	in, err := w.seek(file, s.first)
	if err != nil {
		return fail(err)
	}
	for w.next <= w.limit {
		if err := w.ctx.Err(); err != nil {
			return fail(err)
		}
		f, size, err := journal.ReadFrame(in)
		if err == nil {
			err = w.follows(&f)
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil && last && w.open && errors.Is(endOf(file, w.at.offset, err), journal.ErrTorn):
			return true
		case err != nil:
			return fail(err)
		}
		w.at.offset += size
		w.at.prev = journal.Hash(f.HeadRaw)
		w.next++
		if !w.yield(f, nil) {
			return false
		}
	}
	return false
}

// seek finds where the next frame begins: at the place remembered, when the file is still that one, or by its number in the segment.
func (w *walker) seek(file *os.File, first uint64) (*bufio.Reader, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(file, readBuffer)
	if w.at.file != nil && os.SameFile(w.at.file, info) {
		_, err := file.Seek(w.at.offset, io.SeekStart)
		return in, err
	}
	if first > w.next {
		return nil, fmt.Errorf("%w: it begins with frame %d where frame %d must follow", journal.ErrCorrupt, first, w.next)
	}
	prev := ""
	if first == w.next { // the segment before it ended with this
		prev = w.at.prev
	}
	w.at = place{file: info, prev: prev}
	for sequence := first; sequence < w.next; sequence++ {
		size, err := journal.SkipFrame(in)
		if err != nil {
			return in, notThere(err)
		}
		w.at.offset += size
	}
	return in, nil
}

// notThere makes of a segment that ends before the frame asked for the end of what can be read.
func notThere(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, journal.ErrTorn) {
		return nil
	}
	return err
}

func (w *walker) follows(f *journal.Frame) error {
	if f.Head.Sequence != w.next {
		return fmt.Errorf("%w: frame %d stands where frame %d belongs", journal.ErrCorrupt, f.Head.Sequence, w.next)
	}
	if w.at.prev != "" && f.Head.Prev != w.at.prev {
		return fmt.Errorf("%w: frame %d does not continue the frame before it", journal.ErrCorrupt, f.Head.Sequence)
	}
	return nil
}

// scan reads a segment to its end, or on from where an earlier run stopped.
type scan struct {
	size int64  // bytes up to the end of the last whole frame
	next uint64 // sequence of the frame after it
	head journal.Head
	prev string // hash of its head, "" before the first
}

// run goes on to the end. A torn end gives journal.ErrTorn.
func (s *scan) run(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(s.size, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(file, readBuffer)
	for {
		f, n, err := journal.ReadFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return endOf(file, s.size, err)
		}
		if f.Head.Sequence != s.next || s.prev != "" && f.Head.Prev != s.prev {
			return fmt.Errorf("%w: frame %d stands where frame %d belongs", journal.ErrCorrupt, f.Head.Sequence, s.next)
		}
		s.head, s.prev = f.Head, journal.Hash(f.HeadRaw)
		s.size += n
		s.next++
	}
}

// endOf tells a torn end from damage in the middle. Only the last frame can be torn: a frame is written after the one before it was
// synced. A power loss may leave the file long enough, with zeros or stale blocks in it, and damage may make a length lie. So it is a torn
// end when no more than one frame's bytes are left and no whole frame is among them.
func endOf(file *os.File, at int64, err error) error {
	if !errors.Is(err, journal.ErrCorrupt) && !errors.Is(err, journal.ErrTorn) {
		return err
	}
	info, e := file.Stat()
	if e != nil {
		return errors.Join(err, e)
	}
	left := info.Size() - at
	if left > journal.MaxFrame {
		return fmt.Errorf("%w at byte %d, with %d bytes after it", journal.ErrCorrupt, at, left)
	}
	rest := make([]byte, max(left, 0))
	if _, e := file.ReadAt(rest, at); e != nil && !errors.Is(e, io.EOF) {
		return errors.Join(err, e)
	}
	for i := 1; i < len(rest); i++ {
		next := bytes.Index(rest[i:], []byte(journal.Magic))
		if next < 0 {
			break
		}
		i += next
		if _, _, e := journal.ReadFrame(bufio.NewReader(bytes.NewReader(rest[i:]))); e == nil {
			return fmt.Errorf("%w at byte %d: a whole frame follows at byte %d", journal.ErrCorrupt, at, at+int64(i))
		}
	}
	return fmt.Errorf("%w: %w", journal.ErrTorn, err)
}
