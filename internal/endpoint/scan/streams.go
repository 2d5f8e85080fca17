package scan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/unpack"
)

// streams lists and opens what a file has beside its content. A program can lie there, where no folder shows it.
type streams interface {
	list(f *os.File) ([]handle.Stream, error)
	open(f *os.File, name, path string) (*os.File, error)
}

// named are the named streams of NTFS.
type named struct{}

func (named) list(f *os.File) ([]handle.Stream, error) { return handle.Streams(f) }

func (named) open(f *os.File, name, path string) (*os.File, error) {
	return handle.OpenStream(f, name, path)
}

// examineFolder looks into the further streams of a folder.
func (s *Scanner) examineFolder(ctx context.Context, j *job) {
	f, err := handle.Open(nil, j.real, j.real)
	if err != nil {
		j.results = append(j.results, Result{Problem: &Problem{Path: j.path, Reason: event.ReasonUnreadable, Detail: "its streams: " + errno(err)}})
		return
	}
	defer f.Close()
	j.file = f
	s.further(ctx, j)
}

// further looks into the further streams of a file, as into members of it: what is found there is the file's.
func (s *Scanner) further(ctx context.Context, j *job) {
	list, err := s.streams.list(j.file)
	if err != nil {
		j.results = append(j.results, Result{Problem: &Problem{Path: j.path, Reason: event.ReasonUnreadable, Detail: "its streams: " + errno(err)}})
		return
	}
	for _, x := range list {
		if s.stream(ctx, j, x); j.err != nil {
			return
		}
	}
}

// stream looks into one stream.
func (s *Scanner) stream(ctx context.Context, j *job, x handle.Stream) {
	inside := ":" + x.Name
	problem := func(err error) {
		j.results = append(j.results, Result{Problem: &Problem{Path: j.path, Inside: inside, Reason: event.ReasonUnreadable, Detail: errno(err)}})
	}
	s.bytes.Add(x.Size)
	f, err := s.streams.open(j.file, x.Name, j.real+inside)
	if err != nil {
		problem(err)
		return
	}
	defer f.Close()
	interesting, err := s.interesting(f, x.Size)
	if err != nil {
		problem(err)
		return
	}
	if !interesting {
		return
	}
	report, err := s.revealer.Reveal(ctx, f)
	if err != nil {
		j.err = err
		return
	}
	for i := range report.Items {
		report.Items[i].Inside = inStream(inside, report.Items[i].Inside)
	}
	for i := range report.Problems {
		report.Problems[i].Inside = inStream(inside, report.Problems[i].Inside)
	}
	if j.stat.SHA256 == "" && !j.folder { // by which the file is known again
		if j.stat.SHA256, err = digest(j.file); err != nil {
			problem(err)
		}
	}
	s.judge(j, &report)
	for _, p := range report.Problems {
		j.results = append(j.results, Result{Problem: &Problem{j.path, string(p.Inside), p.Reason, p.Detail}})
	}
}

// inStream is the place of what lies in a stream, as that of a member.
func inStream(stream string, inside []byte) []byte {
	if len(inside) == 0 {
		return []byte(stream)
	}
	return append([]byte(stream+unpack.Separator), inside...)
}

// digest reads a whole file.
func digest(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
