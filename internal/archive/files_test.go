package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// shelf has files by the name of their object; reads counts how often each was opened.
type shelf struct {
	content map[string]string
	reads   map[string]int
	damaged bool
}

func (s *shelf) Get(_ context.Context, f *event.File) (io.ReadCloser, error) {
	c, ok := s.content[f.Object]
	if !ok {
		return nil, fmt.Errorf("object %s: %w", f.Object, fs.ErrNotExist)
	}
	if !bytes.Equal(f.Key, []byte("key of "+f.Object)) {
		return nil, errors.New("another key")
	}
	s.reads[f.Object]++
	if s.damaged {
		return io.NopCloser(io.MultiReader(bytes.NewReader([]byte(c)), broken{})), nil
	}
	return io.NopCloser(bytes.NewReader([]byte(c))), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("damaged") }

// lend records a message with three files of which one is kept, and returns its record as an archive gives it: without keys.
func lend(t *testing.T, log *archivetest.Log) archive.Record {
	t.Helper()
	e := &event.Event{ID: event.NewID(), Kind: event.FileUpload, Content: event.Content{Files: []event.File{
		{Name: "only named.pdf"},
		{Name: "kept.pdf", Object: "kept", Key: []byte("key of kept"), SHA256: event.Digest([]byte("content")), Size: 7},
		{Name: "lost.pdf", Object: "lost", Key: []byte("key of lost"), SHA256: event.Digest([]byte("content")), Size: 7}}}}
	if err := log.Record(t.Context(), &event.Event{ID: event.NewID(), Kind: event.Message}, e); err != nil {
		t.Fatal(err)
	}
	bare := *e
	bare.Files = nil
	for f, err := range log.Frames(t.Context(), journal.Local, 1) {
		if err != nil {
			t.Fatal(err)
		}
		for i, raw := range f.Records {
			if h, err := event.ParseHeader(raw.Header); err == nil && h.ID == e.ID {
				return archive.Record{Event: &bare, Position: journal.Position{Stream: journal.Local, Sequence: f.Head.Sequence, Record: i + 1}}
			}
		}
	}
	t.Fatal("it is not in the log")
	return archive.Record{}
}

// TestDownloads: a file is read whole before it is given out, its act comes before its first byte, and whatever is wrong has its own error.
func TestDownloads(t *testing.T) {
	full := errors.New("disk full")
	for name, c := range map[string]struct {
		n      int
		change func(r *archive.Record, s *shelf, acts *recorder)
		want   error
	}{
		"kept":               {n: 1},
		"only named":         {n: 0, want: archive.ErrGone},
		"lost":               {n: 2, want: archive.ErrGone},
		"no such file":       {n: 3, want: archive.ErrNotFound},
		"before the first":   {n: -1, want: archive.ErrNotFound},
		"erased":             {n: 1, want: archive.ErrGone, change: func(r *archive.Record, _ *shelf, _ *recorder) { r.Erased = true }},
		"other content":      {n: 1, want: archive.ErrAltered, change: func(_ *archive.Record, s *shelf, _ *recorder) { s.content["kept"] = "Content" }},
		"cut short":          {n: 1, want: archive.ErrAltered, change: func(_ *archive.Record, s *shelf, _ *recorder) { s.content["kept"] = "conten" }},
		"damaged at its end": {n: 1, want: archive.ErrAltered, change: func(_ *archive.Record, s *shelf, _ *recorder) { s.damaged = true }},
		"cannot be recorded": {n: 1, want: archive.ErrUnrecorded, change: func(_ *archive.Record, _ *shelf, acts *recorder) { acts.err = full }},
		"another record":     {n: 1, want: archive.ErrNotFound, change: func(r *archive.Record, _ *shelf, _ *recorder) { r.Position.Record++ }},
		"no record":          {n: 1, want: archive.ErrNotFound, change: func(r *archive.Record, _ *shelf, _ *recorder) { r.Position.Record = 0 }},
		"another frame":      {n: 1, want: archive.ErrNotFound, change: func(r *archive.Record, _ *shelf, _ *recorder) { r.Position.Sequence += 7 }},
	} {
		t.Run(name, func(t *testing.T) {
			log, acts := archivetest.NewLog(), &recorder{}
			s := &shelf{content: map[string]string{"kept": "content"}, reads: map[string]int{}}
			r := lend(t, log)
			v, err := archive.New(archive.Driver{}, acts, clock.System{}).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "case 7")
			if err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(&r, s, acts)
			}
			f, in, err := v.Download(t.Context(), &archive.Files{Reader: log, Opener: log, Objects: s}, r, c.n)
			if !errors.Is(err, c.want) || (in != nil) != (c.want == nil) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want != nil {
				if len(acts.acts) != 0 {
					t.Errorf("a download that was refused is on record: %+v", acts.acts[0].Act)
				}
				return
			}
			defer in.Close()
			got, err := io.ReadAll(in)
			if err != nil || string(got) != "content" || f.Name != "kept.pdf" || s.reads["kept"] != 2 {
				t.Errorf("%q of %+v, read %d times, %v", got, f, s.reads["kept"], err)
			}
			if len(acts.acts) != 1 || acts.acts[0].Phase != archive.ActDownload || acts.acts[0].Act.Purpose != "case 7" || acts.acts[0].Act.Object != string(r.Event.ID) || acts.acts[0].Act.Details[1].Value != f.SHA256 {
				t.Errorf("on record: %+v", acts.acts)
			}
		})
	}
}

// TestADownloadEndsWithItsContext: a reader who went away has no file read to its end.
func TestADownloadEndsWithItsContext(t *testing.T) {
	log, acts := archivetest.NewLog(), &recorder{}
	r := lend(t, log)
	v, err := archive.New(archive.Driver{}, acts, clock.System{}).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "case 7")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	files := &archive.Files{Reader: log, Opener: log, Objects: &shelf{content: map[string]string{"kept": "content"}, reads: map[string]int{}}}
	cancel()
	if _, _, err := v.Download(ctx, files, r, 1); err == nil || len(acts.acts) != 0 {
		t.Errorf("%v, %d acts", err, len(acts.acts))
	}
}
