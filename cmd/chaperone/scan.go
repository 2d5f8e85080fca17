package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/cmd/chaperone/inspection"
	"github.com/chaperone-im/chaperone/cmd/chaperone/scanned"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
)

// scanCmd finds messengers in files and folders.
type scanCmd struct {
	JSON          bool   `name:"json" help:"One JSON object per line."`
	Policy        string `name:"policy" type:"path" placeholder:"FILE" help:"Policy to decide by; else that of the configuration, else the embedded quickstart policy."`
	Host          string `name:"host" placeholder:"NAME" help:"The machine that findings are attributed to; this one without it."`
	OneFileSystem bool   `name:"one-file-system" help:"Do not cross into other file systems."`
	Quarantine    bool   `name:"quarantine" xor:"act" help:"Move files that hold what policy forbids into DATA/quarantine. Without it nothing is changed."`
	Remove        bool   `name:"remove" xor:"act" help:"Remove the package that owns such a file; quarantine files that no package owns."`
	command.DataFlags
	Paths []string `arg:"" name:"path" help:"Files and folders."`

	options quarantineOptions // the recorder takes findings and acts
}

// Run scans.
func (c *scanCmd) Run(e *command.Env) error {
	if c.options.recorder == nil {
		c.options = acts(e, &c.DataFlags)
	}
	scanner, err := c.scanner(e)
	if err != nil {
		return err
	}
	defer scanner.Close()
	var out scanned.Writer = scanned.NewTable(e.Out, c.Quarantine || c.Remove)
	if c.JSON {
		out = scanned.NewLines(e.Out)
	}
	bombs := scanned.Gather(out)
	forbidden, summary, err := c.scan(e, scanner, bombs)
	if err := errors.Join(err, bombs.Flush()); err != nil {
		return err
	}
	status, err := scanner.Sandbox(e.Ctx)
	if err != nil {
		return err
	}
	if d := status.Degraded(); d != "" {
		fmt.Fprintln(e.ErrOut, "chaperone: warning: sandbox:", d)
	}
	failed, err := c.act(e, forbidden)
	if err != nil {
		return err
	}
	if err := out.Close(summary, forbidden); err != nil {
		return err
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d files could not be taken away", failed, len(forbidden))
	case len(forbidden) > 0:
		return command.ErrFindings
	}
	return nil
}

// maxActs bounds the files that one run acts on.
const maxActs = 100_000

// scan runs the scan and returns the findings that policy forbids, one for each file.
func (c *scanCmd) scan(e *command.Env, scanner *scan.Scanner, out scanned.Writer) ([]*scan.Finding, scan.Summary, error) {
	var forbidden []*scan.Finding
	stop := scanProgress(e, scanner)
	defer stop()
	summary, err := scanner.Scan(e.Ctx, c.Paths, func(r scan.Result) error {
		if r.Problem != nil {
			return out.Problem(r.Problem)
		}
		if r.Finding.Event.Verdict.Action.Stops() {
			forbidden = addForbidden(forbidden, r.Finding)
		}
		return out.Finding(r.Finding)
	})
	return forbidden, summary, err
}

// addForbidden keeps one finding for each file: the first that is certain enough to act on, else the first.
func addForbidden(forbidden []*scan.Finding, f *scan.Finding) []*scan.Finding {
	n := len(forbidden)
	switch {
	case n > 0 && forbidden[n-1].Real == f.Real:
		if !forbidden[n-1].Certain() && f.Certain() {
			forbidden[n-1] = f
		}
	case n < maxActs:
		forbidden = append(forbidden, f)
	}
	return forbidden
}

// act does what the flags ask for, after the scan, and returns how many files it could not be done to.
func (c *scanCmd) act(e *command.Env, forbidden []*scan.Finding) (failed int, err error) {
	if !c.Quarantine && !c.Remove || len(forbidden) == 0 {
		return 0, nil
	}
	host, err := c.host()
	if err != nil {
		return 0, err
	}
	store, err := openQuarantine(&c.DataFlags, host, c.options)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	a := &actor{store: store, remove: c.Remove, out: e.Out, json: c.JSON}
	for _, f := range forbidden {
		if err := a.act(e.Ctx, f); err != nil {
			return a.failed, err
		}
	}
	return a.failed, nil
}

// host is the machine that findings are attributed to.
func (c *scanCmd) host() (string, error) {
	if c.Host != "" {
		return c.Host, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name of this machine: %w", err)
	}
	return host, nil
}

func (c *scanCmd) scanner(e *command.Env) (*scan.Scanner, error) {
	for _, p := range c.Paths {
		if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) {
			return nil, hint.New(fmt.Errorf("%s: no such file or folder", p), "chaperone scan PATH... looks into files and folders")
		}
	}
	set, err := c.Rules(e, c.Policy)
	if err != nil {
		return nil, err
	}
	host, err := c.host()
	if err != nil {
		return nil, err
	}
	dir, err := c.Dir()
	if err != nil {
		return nil, err
	}
	var skip []string // there is no quarantine yet when its path does not resolve
	if real, err := filepath.EvalSymlinks(filepath.Join(dir, "quarantine")); err == nil {
		if real, err = filepath.Abs(real); err == nil {
			skip = append(skip, real)
		}
	}
	return scan.New(scan.Options{Catalog: set.Catalog, Policy: set.Policy, Recorder: c.options.recorder, Host: event.Host{Name: host},
		OneFileSystem: c.OneFileSystem, Skip: skip})
}

// scanProgress shows counts on a terminal until the function it returns is called.
func scanProgress(e *command.Env, s *scan.Scanner) (stop func()) {
	w := inspection.Terminal(e.ErrOut)
	if w == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-tick.C:
				n := s.Counts()
				fmt.Fprintf(w, "\r\x1b[K%d files, %s, %d findings, %d errors", n.Files, scanned.Bytes(n.Bytes), n.Findings, n.Errors)
			}
		}
	}()
	return func() { close(quit); <-done }
}
