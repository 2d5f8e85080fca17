package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Detach drops the sealed contents of records, given by sequence and index within their frames. Headers, heads and every hash stay. The
// caller has made the certificates of disposal durable before. Appending goes on meanwhile: only ended segments are rewritten, and the one
// that is being written is ended first.
func (j *Journal) Detach(ctx context.Context, records map[uint64][]int) error {
	j.detaching.Lock()
	defer j.detaching.Unlock()
	if _, err := j.ask(ctx, &request{roll: true, done: make(chan result, 1)}); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	segments, err := j.Reader.segments(j.o.Stream)
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	last := segments[len(segments)-1].first
	for sequence := range records {
		if sequence < segments[0].first || sequence >= last {
			return fmt.Errorf("detach: there is no frame %d yet, or no longer", sequence)
		}
	}
	for i, s := range segments[:len(segments)-1] {
		touched := false
		for sequence := range records {
			touched = touched || sequence >= s.first && sequence < segments[i+1].first
		}
		if !touched {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := rewriteSegment(s.path, records); err != nil {
			return fmt.Errorf("rewrite %s: %w", s.path, classify(err))
		}
	}
	return nil
}

// roll runs in the writer and ends the segment that it appends to.
func (j *Journal) roll() error {
	if err := j.mend(); err != nil || j.size == 0 {
		return err
	}
	return classify(j.newSegment(j.head.Sequence + 1))
}

// sweepRewrites removes what an interrupted rewrite left behind.
func sweepRewrites(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, rewritePrefix+"*"))
	for _, path := range found {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

const rewritePrefix = ".rewrite-"

func rewriteSegment(path string, records map[uint64][]int) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(path), rewritePrefix)
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
	return durable.SyncDir(filepath.Dir(path))
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
