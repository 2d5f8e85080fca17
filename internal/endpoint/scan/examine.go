package scan

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/unpack"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

// heads are buffers for the first bytes of files.
type heads struct{ pool sync.Pool }

func (h *heads) get() *[program.HeadSize]byte {
	if b, ok := h.pool.Get().(*[program.HeadSize]byte); ok {
		return b
	}
	return new([program.HeadSize]byte)
}

// examine fills in the results of a job.
func (s *Scanner) examine(ctx context.Context, j *job) {
	defer j.file.Close()
	s.files.Add(1)
	s.bytes.Add(j.stored)
	if s.content(ctx, j); j.err == nil {
		s.further(ctx, j)
	}
	if j.err == nil {
		s.remember(j)
	}
}

// content looks into what a file is.
func (s *Scanner) content(ctx context.Context, j *job) {
	interesting, err := s.interesting(j.file, j.stat.Size)
	if err != nil {
		j.results = []Result{{Problem: &Problem{Path: j.path, Reason: event.ReasonUnreadable, Detail: errno(err)}}}
		return
	}
	if !interesting {
		return
	}
	report, err := s.revealer.Reveal(ctx, j.file)
	if err != nil {
		j.err = err
		return
	}
	if len(report.Items) > 0 && len(report.Items[0].Inside) == 0 {
		j.stat.SHA256 = report.Items[0].Identity.SHA256
	}
	s.judge(j, &report)
	s.judgeBeside(ctx, j, &report)
	if j.err != nil {
		return
	}
	for _, p := range report.Problems {
		j.results = append(j.results, Result{Problem: &Problem{j.path, string(p.Inside), p.Reason, p.Detail}})
	}
	if s.changed(j) {
		j.results = append(j.results, Result{Problem: &Problem{Path: j.path, Reason: reasonChanged, Detail: "it changed while it was read"}})
	}
}

// remember remembers a file in which nothing was found, and which is still what it was when it was opened.
func (s *Scanner) remember(j *job) {
	if j.opened.IsZero() || len(j.results) > 0 || j.err != nil {
		return
	}
	if st, err := handle.Stat(j.file); err == nil && keyOf(&st) == j.key {
		s.opts.Memory.Clean(j.key, j.opened)
	}
}

// interesting reports whether the file may be a program or hold one, from its first and last bytes.
func (s *Scanner) interesting(f *os.File, size int64) (bool, error) {
	if size < 8 {
		return false, nil
	}
	head := s.match.heads.get()
	defer s.match.heads.pool.Put(head)
	n, err := f.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if program.Sniff(head[:n]) != program.None {
		return true, nil
	}
	format, err := program.SniffFar(f, size)
	return format != program.None, err
}

func errno(err error) string {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}

// changed reports whether the file has another size now than when it was opened.
func (s *Scanner) changed(j *job) bool {
	info, err := j.file.Stat()
	return err == nil && info.Size() != j.stat.Size
}

// judge turns what was revealed into findings.
func (s *Scanner) judge(j *job, report *reveal.Report) {
	seen := map[string]string{} // recognised packages and containers: inside → app
	for i := range report.Items {
		item := &report.Items[i]
		inside := string(item.Inside)
		k := s.match.best(&item.Identity)
		app := k.app
		if !item.Identity.Format.Program() && app == "" {
			continue
		}
		if within(seen, inside, app) {
			continue // part of the package that is reported already
		}
		e := s.event(j, item, inside)
		e.Program.App, e.Evidence, e.Program.Confidence = app, k.evidence, k.confidence
		e.Verdict = s.opts.Policy.Decide(&policy.Input{Event: e, Now: e.Received, Final: true})
		if app == "" && (!e.Verdict.Action.Stops() || e.Verdict.Rule == "otherwise") {
			continue // a program like any other
		}
		if app != "" {
			seen[inside] = app
		}
		j.results = append(j.results, Result{Finding: &Finding{Path: j.path, Real: j.real, File: j.stat, Inside: inside, Identified: k.identity, Event: e}})
	}
}

// within reports whether inside lies in something that was recognised as the same app.
func within(known map[string]string, inside, app string) bool {
	if app == "" || inside == "" {
		return false
	}
	for outer, a := range known {
		if a == app && (outer == "" || strings.HasPrefix(inside, outer+unpack.Separator)) {
			return true
		}
	}
	return false
}

// event makes the event of a finding, still without app and verdict.
func (s *Scanner) event(j *job, item *reveal.Item, inside string) *event.Event {
	now := s.opts.Now()
	p := s.program(j, item, inside)
	return &event.Event{
		ID: event.NewID(), Kind: event.FindingHit, Time: now, Received: now,
		Connector: s.opts.Connector, Source: event.SourceCapture, Host: s.opts.Host,
		Content: event.Content{Program: &p},
	}
}

// recorded is the path that goes on record and that policy judges: as the caller named the tree, but never relative, which would mean nothing to
// whoever reads it later.
func (j *job) recorded() string {
	if filepath.IsAbs(j.path) {
		return j.path
	}
	return j.real
}

// program is what one item is, still without app.
func (s *Scanner) program(j *job, item *reveal.Item, inside string) event.Program {
	id := &item.Identity
	return event.Program{
		Path: j.recorded(), Inside: inside, Form: id.Kind, Format: string(id.Format), Version: id.Version,
		Publisher: publisher(id), SHA256: id.SHA256, Size: id.Size,
		Owner: s.places.ownerOf(j.owner), Media: s.places.medium(j.stat.Dev),
	}
}

// publisher is who signed the file, else who it says made it.
func publisher(id *program.Identity) string {
	for _, s := range id.Signers {
		if s.Subject != "" {
			return s.Subject
		}
	}
	if id.Company != "" {
		return id.Company
	}
	return id.Maintains
}
