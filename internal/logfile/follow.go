package logfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Item is an entry and where it stood.
type Item[E any] struct {
	Entry  *E
	Source string // the same for the same line, across restarts: file, offset and what stands there
}

// Batch is what was read at once.
type Batch[E any] struct {
	Items   []Item[E]
	Trouble Trouble // since the last batch
	Lost    string  // "" or why lines may be missing before this batch
}

// Follower reads a log as it grows, across rotation and restarts. A batch that was taken is not read again, and no line is left out unless a
// batch says so (Lost): the position is kept once the batch was taken. After a crash between the two it is read again, under the same Source. A last line that is not
// complete waits.
type Follower[E any] struct {
	path string
	keep string // file of the position
	take func(ctx context.Context, b Batch[E]) error

	parser Parser[E]
	reader *lineReader
	file   *os.File
	at     position
	lines  int64
	batch  Batch[E]
	idle   int // reads of a file that was replaced, at its end

	left   *os.File // that was read before this one, and may still be written to
	leftAt int64    // where reading of it ended
}

// position is where reading goes on.
type position struct {
	Device  uint64 `json:"device"`
	Inode   uint64 `json:"inode"`
	Offset  int64  `json:"offset"`
	Head    string `json:"head"`  // hash of the first bytes, for numbers of files are used again
	HeadLen int64  `json:"bytes"` // of them
	Skip    bool   `json:"skip"`  // the rest of a line that is too long
	State   []byte `json:"state"`
}

// Bounds of reading.
const (
	batchLines = 512
	headBytes  = 256
)

// NewFollower returns a follower of the log at path. Its position is kept in the folder state.
func NewFollower[E any](path, state string, p Parser[E], take func(ctx context.Context, b Batch[E]) error) (*Follower[E], error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(path))
	f := &Follower[E]{path: path, keep: filepath.Join(state, hex.EncodeToString(sum[:8])+".json"), take: take, parser: p, reader: newLineReader(nil)}
	b, err := os.ReadFile(f.keep)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &f.at)
	}
	if err == nil && (f.at.Offset < 0 || f.at.HeadLen < 0 || f.at.HeadLen > headBytes) {
		err = errors.New("it is damaged: no file has such a place")
	}
	if err == nil {
		err = p.Restore(f.at.State)
	}
	if err != nil {
		return nil, fmt.Errorf("position in %s: %w", path, err)
	}
	return f, nil
}

// Lines returns how many lines were read.
func (f *Follower[E]) Lines() int64 { return f.lines }

// Close closes the files.
func (f *Follower[E]) Close() error {
	err := f.forget()
	if f.file != nil {
		err = errors.Join(err, f.file.Close())
	}
	f.file = nil
	return err
}

// Pauses of following a log: when it has nothing new, and after an error.
const (
	idle  = 500 * time.Millisecond
	retry = 5 * time.Second
)

// Run follows the log until the context ends, and closes it. Report is told of each step how it went.
func (f *Follower[E]) Run(ctx context.Context, report func(err error)) {
	defer f.Close()
	for ctx.Err() == nil {
		more, err := f.Step(ctx)
		if ctx.Err() != nil {
			return
		}
		report(err)
		pause := idle
		switch {
		case err != nil:
			pause = retry
		case more:
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Step reads what there is, up to a batch, and reports whether there may be more. An error of take leaves the position where it was.
func (f *Follower[E]) Step(ctx context.Context) (more bool, err error) {
	if f.file == nil {
		if err := f.open(); err != nil {
			return false, err
		}
	}
	if err := f.truncated(); err != nil {
		return false, err
	}
	if err := f.late(); err != nil {
		return false, err
	}
	before, lines := f.at, f.lines
	if err := f.read(false); err != nil {
		return false, f.back(before, lines, err)
	}
	full := len(f.batch.Items) >= batchLines || f.at.Offset-before.Offset >= maxBatchBytes
	rotated := false
	if !full && f.at.Offset == before.Offset {
		if rotated, err = f.replaced(); err != nil {
			return false, f.back(before, lines, err)
		}
		if rotated { // nobody writes to it any more: what is left is a line
			if err := f.read(true); err != nil {
				return false, f.back(before, lines, err)
			}
		}
	}
	if err := f.commit(ctx, before); err != nil {
		return false, f.back(before, lines, err)
	}
	if rotated {
		return true, f.next()
	}
	return full, nil
}

// back goes back to where a batch began.
func (f *Follower[E]) back(before position, lines int64, err error) error {
	f.lines = lines
	f.at, f.batch = before, Batch[E]{Lost: f.batch.Lost}
	if failed := f.parser.Restore(before.State); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// commit hands the batch over and keeps the position.
func (f *Follower[E]) commit(ctx context.Context, before position) error {
	if f.at.Offset == before.Offset && f.at.Skip == before.Skip && f.batch.Lost == "" && len(f.batch.Items) == 0 {
		return nil
	}
	f.at.State = f.parser.State()
	if err := f.take(ctx, f.batch); err != nil {
		return err
	}
	f.batch = Batch[E]{}
	return f.save()
}

// maxBatchBytes bounds what one step reads of lines that say nothing.
const maxBatchBytes = 4 << 20

// read reads complete lines into the batch, and with rest also the last one.
func (f *Follower[E]) read(rest bool) error {
	lines := f.reader
	lines.in.Reset(io.NewSectionReader(f.file, f.at.Offset, 1<<62))
	start := f.at.Offset
	for len(f.batch.Items) < batchLines && f.at.Offset-start < maxBatchBytes {
		line, took, err := lines.next()
		if err != nil && !errors.Is(err, errLong) && !errors.Is(err, io.EOF) {
			return err
		}
		if errors.Is(err, io.EOF) {
			f.torn(line, took, rest)
			return f.mark()
		}
		f.line(line, took, errors.Is(err, errLong))
	}
	return f.mark()
}

// line takes one line that ended.
func (f *Follower[E]) line(line []byte, took int64, long bool) {
	at := f.at.Offset
	f.at.Offset += took
	f.lines++
	switch {
	case f.at.Skip: // the end of one that was counted
		f.at.Skip = false
	case long:
		f.batch.Trouble.add("byte", at, errLong)
	default:
		e, err := f.parser.Line(line)
		if err != nil {
			f.batch.Trouble.add("byte", at, err)
		} else if e != nil {
			sum := sha256.Sum256(line) // numbers of files are used again
			f.batch.Items = append(f.batch.Items, Item[E]{e, fmt.Sprintf("%d:%d:%d:%x", f.at.Device, f.at.Inode, at, sum[:8])})
		}
	}
}

// torn sees to bytes without an end: they wait, unless they are too many, or nobody will end them.
func (f *Follower[E]) torn(line []byte, took int64, rest bool) {
	switch {
	case took > MaxLine:
		if !f.at.Skip {
			f.lines++
			f.batch.Trouble.add("byte", f.at.Offset, errLong)
		}
		f.at.Offset, f.at.Skip = f.at.Offset+took, true
	case rest && took > 0:
		f.line(line, took, false)
	}
}
