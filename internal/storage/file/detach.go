package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/journal"
)

// Detach drops the sealed contents of records, given by sequence and index within their frames. Headers, heads and every hash stay. The
// caller has made the certificates of disposal durable before.
func (j *Journal) Detach(ctx context.Context, records map[uint64][]int) error {
	_, err := j.ask(ctx, &request{detach: records, done: make(chan result, 1)})
	return err
}

// rewrite runs in the writer. The segment it appends to is ended first: only ended segments are rewritten.
func (j *Journal) rewrite(records map[uint64][]int) error {
	if err := j.mend(); err != nil {
		return err
	}
	if j.size > 0 {
		if err := j.newSegment(j.head.Sequence + 1); err != nil {
			return classify(err)
		}
	}
	segments, err := j.Reader.segments(j.o.Stream)
	if err != nil {
		return err
	}
	for i, s := range segments[:len(segments)-1] {
		touched := false
		for sequence := range records {
			touched = touched || sequence >= s.first && sequence < segments[i+1].first
		}
		if touched {
			if err := rewriteSegment(s.path, records); err != nil {
				return fmt.Errorf("rewrite %s: %w", s.path, err)
			}
		}
	}
	return nil
}

func rewriteSegment(path string, records map[uint64][]int) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(path), ".rewrite-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	if err := copyFrames(out, bufio.NewReaderSize(in, 256<<10), records); err != nil {
		return err
	}
	if err := errors.Join(out.Chmod(0o640), out.Sync()); err != nil {
		return err
	}
	if err := os.Rename(out.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func copyFrames(out io.Writer, in *bufio.Reader, records map[uint64][]int) error {
	for {
		f, _, err := journal.ReadFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, i := range records[f.Head.Sequence] {
			if i < 0 || i >= len(f.Records) {
				return fmt.Errorf("frame %d has no record %d", f.Head.Sequence, i)
			}
			f.Records[i].Sealed = nil
		}
		b, err := journal.EncodeFrame(nil, &f)
		if err != nil {
			return err
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
}
