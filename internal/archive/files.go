package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Errors of files.
var (
	// ErrGone says that a file's content was destroyed, or was never kept.
	ErrGone = errors.New("the file is not kept any more")
	// ErrAltered says that a file is not what its record says.
	ErrAltered = errors.New("the file is not what its record says")
)

// Objects opens sealed files. A file that is not there is fs.ErrNotExist.
type Objects interface {
	Get(ctx context.Context, f *event.File) (io.ReadCloser, error)
}

// Files opens recorded files: the key of each is in the journal, in the content of the record that brought it.
type Files struct {
	Reader  journal.Reader
	Opener  Opener
	Objects Objects
}

// file returns the n-th file of a record, with its key.
func (f *Files) file(ctx context.Context, r Record, n int) (event.File, error) {
	for frame, err := range f.Reader.Frames(ctx, r.Position.Stream, r.Position.Sequence) {
		if err != nil {
			return event.File{}, err
		}
		if frame.Head.Sequence != r.Position.Sequence || r.Position.Record < 1 || r.Position.Record > len(frame.Records) {
			break
		}
		raw := frame.Records[r.Position.Record-1]
		h, err := event.ParseHeader(raw.Header)
		if err != nil {
			return event.File{}, err
		}
		if h.ID != r.Event.ID {
			break
		}
		if len(raw.Sealed) == 0 {
			return event.File{}, ErrGone
		}
		content, err := f.Opener.Open(raw.Sealed, []byte(h.ID))
		if err != nil {
			return event.File{}, fmt.Errorf("%w: %w", ErrGone, err)
		}
		e, err := event.Assemble(h, content)
		if err != nil {
			return event.File{}, err
		}
		if n < 0 || n >= len(e.Files) {
			break
		}
		return e.Files[n], nil
	}
	return event.File{}, ErrNotFound
}

// get opens a file, and says ErrGone where there is none.
func (f *Files) get(ctx context.Context, file *event.File) (io.ReadCloser, error) {
	if file.Object == "" {
		return nil, ErrGone
	}
	in, err := f.Objects.Get(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrGone
	}
	return in, err
}

// check reads a file to its end, and compares it with what its record says.
func (f *Files) check(ctx context.Context, file *event.File) error {
	in, err := f.get(ctx, file)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	buf := make([]byte, 256<<10)
	for err == nil && ctx.Err() == nil {
		var n int
		n, err = in.Read(buf)
		sum.Write(buf[:n])
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrAltered, err)
	case hex.EncodeToString(sum.Sum(nil)) != file.SHA256:
		return ErrAltered
	}
	return nil
}

// Download opens the n-th file of a record. The whole file is compared with its hash before its first byte is given out, and each download is
// an act of its own, with the hash, that is durable before.
func (v *View) Download(ctx context.Context, files *Files, r Record, n int) (event.File, io.ReadCloser, error) {
	fail := func(err error) (event.File, io.ReadCloser, error) {
		return event.File{}, nil, fmt.Errorf("download file %d of %s: %w", n, r.Event.ID, err)
	}
	if r.KeyLost {
		return fail(ErrKeyLost)
	}
	if r.Erased {
		return fail(ErrGone)
	}
	file, err := files.file(ctx, r, n)
	if err != nil {
		return fail(err)
	}
	if err := files.check(ctx, &file); err != nil {
		return fail(err)
	}
	err = v.record(ctx, &event.ActDetail{Action: ActDownload, Object: string(r.Event.ID), Purpose: v.purpose, Details: []event.Fact{
		{Name: "name", Value: file.Name}, {Name: "sha256", Value: file.SHA256}, {Name: "size", Value: strconv.FormatInt(file.Size, 10)}}})
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrUnrecorded, err))
	}
	in, err := files.get(ctx, &file)
	if err != nil {
		return fail(err)
	}
	file.Name = v.Text(file.Name)
	return file, in, nil
}
