// Package scan walks file trees and finds messengers by what files are, never by what they are called.
//
// A walker opens each regular file by descriptor, following no link; workers look at its first bytes, and hand what may be a program or a
// container to the sandbox (unpack/reveal). What it says is matched against the catalog, and policy judges each finding. Results come in
// the order of the walk. Whatever could not be looked into is a result too.
package scan

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/history"
	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

// Options are what a Scanner works with. Catalog and Policy are needed, all else may be zero.
type Options struct {
	Catalog       *catalog.Catalog
	Policy        policy.Decider
	Recorder      event.Recorder // findings are recorded before they are reported; nil: not recorded
	Host          event.Host     // to which findings are attributed
	Connector     string         // in events; default "scan"
	Skip          []string       // folders that are not entered, absolute and free of links: the quarantine
	OneFileSystem bool           // do not cross into other file systems
	NoHistory     bool           // do not look for the stores in which messengers keep what was said
	Memory        Memory         // of files in which nothing was found; nil: every file is looked into
	Pause         func() bool    // asked from time to time: while it says true the scan waits; nil: it never waits
	Workers       int            // default GOMAXPROCS
	Threads       int            // of each sandbox at work at a time; default 1
	Timeout       time.Duration  // per file; see reveal
	Limits        unpack.Limits
	Sys           string // where sysfs is, which tells removable media; default /sys
	Now           func() time.Time
	Log           *slog.Logger
}

// Memory knows files that were looked into before, and have not changed since. It is used by several goroutines.
type Memory interface {
	Known(k rescan.Key) bool
	Clean(k rescan.Key, opened time.Time)
}

// Scanner scans. It is safe for concurrent use.
type Scanner struct {
	opts     Options
	revealer *reveal.Revealer
	match    *matcher
	places   *places
	history  *history.Index
	streams  streams
	files    atomic.Int64
	known    atomic.Int64
	bytes    atomic.Int64
	findings atomic.Int64
	problems atomic.Int64
}

// Finding is a program that the catalog knows, or that policy forbids by another of its facts.
type Finding struct {
	Path   string // as the caller named the tree, plus the names below
	Real   string // absolute, free of links
	File   Stat   // of the outermost file, for quarantine
	Inside string // within nested archives

	Identified bool // by a fact that identifies alone: package, bundle, hash, publisher
	Event      *event.Event
}

// Certain reports whether the finding is sure enough to take the file away: it is recognised with at least ActFrom, or policy names it by
// another of its facts, which need no recognition.
func (f *Finding) Certain() bool {
	p := f.Event.Program
	return p.App == "" || p.Confidence >= ActFrom
}

// Identity reports whether the evidence is identity-grade: a fact identifies the messenger for itself, or policy names the file by another of
// its facts.
func (f *Finding) Identity() bool { return f.Certain() && (f.Identified || f.Event.Program.App == "") }

// Watched reports whether the mode of what forbids a finding is monitor.
func (s *Scanner) Watched(f *Finding) bool { return policy.Watched(s.opts.Policy, f.Event) }

// MayRemove reports whether the evidence is good enough to remove a package for: it identifies the messenger, or policy names the file by
// another of its facts. manager and name are the package's, as the package manager's own database has them: one that the catalog knows as this
// messenger's identifies it too.
func (s *Scanner) MayRemove(f *Finding, manager, name string) bool {
	if manager == "dpkg" {
		manager, name = "deb", strings.SplitN(name, ":", 2)[0] // without the architecture
	}
	for _, m := range s.match.catalog.ByPackage(manager, name) {
		if m.App == f.Event.Program.App && m.Identity {
			return true
		}
	}
	return f.Identity()
}

// Stores returns where on this machine the messenger app keeps what was said.
func (s *Scanner) Stores(app string) []history.Place { return s.history.Locate(app, history.Homes()) }

// Stat is the identity of a file at the moment it was read.
type Stat struct {
	Dev, Ino uint64
	Size     int64
	SHA256   string // of the outermost file
}

// Problem is something that could not be looked into.
type Problem struct {
	Path   string
	Inside string
	Reason string
	Detail string
}

// Result is a Finding or a Problem.
type Result struct {
	Finding *Finding
	Problem *Problem
}

// Summary is what a scan did.
type Summary struct {
	Files    int64
	Known    int64 // of these, not looked into: nothing was found before, and they have not changed since
	Bytes    int64
	Findings int64
	Errors   int64
	Took     time.Duration
}

// New returns a Scanner. main must have given reveal.Parser to sandbox.Child.
func New(o Options) (*Scanner, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Connector == "" {
		o.Connector = "scan"
	}
	m := newMatcher(o.Catalog)
	r, err := reveal.New(reveal.Options{Tokens: m.texts(), Limits: o.Limits, Workers: o.Workers, Threads: o.Threads, Timeout: o.Timeout, Log: o.Log})
	if err != nil {
		return nil, err
	}
	return &Scanner{opts: o, revealer: r, match: m, places: newPlaces(o.Sys), history: history.New(o.Catalog), streams: named{}}, nil
}

// Close ends the sandbox.
func (s *Scanner) Close() error { return s.revealer.Close() }

// Sandbox says how far the parsers are confined.
func (s *Scanner) Sandbox(ctx context.Context) (sandbox.Status, error) { return s.revealer.Status(ctx) }

// Counts returns what was done so far, for a progress line.
func (s *Scanner) Counts() Summary {
	return Summary{Files: s.files.Load(), Known: s.known.Load(), Bytes: s.bytes.Load(), Findings: s.findings.Load(), Errors: s.problems.Load()}
}

// queueLength bounds the files that are open and waiting, and the results that wait for an earlier one.
const queueLength = 64

// job is one file or one problem of the walk. done is closed when results and err are set.
type job struct {
	path, real string
	file       *os.File
	store      *history.Place // to be described, instead of a file to be looked into
	folder     bool           // of which only further streams are looked into
	stat       Stat
	stored     int64 // of its size
	key        rescan.Key
	opened     time.Time // zero: not to be remembered
	owner      string    // number or security identifier
	results    []Result
	err        error
	done       chan struct{}
}

// Scan walks the trees and calls report for each result, in order. It returns early only with an error: of report, of the recorder, of the
// sandbox, or of the context.
func (s *Scanner) Scan(ctx context.Context, paths []string, report func(Result) error) (Summary, error) {
	begun := time.Now()
	before := s.Counts()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, order := make(chan *job, queueLength), make(chan *job, queueLength)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(order)
		defer close(work)
		s.walk(ctx, paths, work, order)
	})
	for range s.opts.Workers {
		wg.Go(func() {
			for j := range work {
				s.work(ctx, j)
				close(j.done)
			}
		})
	}
	err := s.deliver(ctx, order, report)
	cancel()
	for range order { // the walker must not wait for a reader
	}
	wg.Wait()
	after := s.Counts()
	return Summary{Files: after.Files - before.Files, Known: after.Known - before.Known, Bytes: after.Bytes - before.Bytes, Findings: after.Findings - before.Findings,
		Errors: after.Errors - before.Errors, Took: time.Since(begun)}, err
}

func (s *Scanner) work(ctx context.Context, j *job) {
	switch {
	case j.store != nil:
		s.describe(ctx, j)
	case j.folder:
		s.examineFolder(ctx, j)
	default:
		s.examine(ctx, j)
	}
}

// deliver records and reports results in the order of the walk.
func (s *Scanner) deliver(ctx context.Context, order <-chan *job, report func(Result) error) error {
	for j := range order {
		<-j.done
		if j.err != nil {
			return j.err
		}
		if err := s.record(ctx, j.results); err != nil {
			return err
		}
		for _, r := range j.results {
			if r.Finding != nil {
				s.findings.Add(1)
			} else {
				s.problems.Add(1)
			}
			if err := report(r); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (s *Scanner) record(ctx context.Context, results []Result) error {
	if s.opts.Recorder == nil {
		return nil
	}
	var events []*event.Event
	for _, r := range results {
		if r.Finding != nil {
			events = append(events, r.Finding.Event)
		}
	}
	if len(events) == 0 {
		return nil
	}
	if err := s.opts.Recorder.Record(ctx, events...); err != nil {
		return fmt.Errorf("scan: record finding: %w", err)
	}
	return nil
}
