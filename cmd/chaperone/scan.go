package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/cmd/chaperone/scanned"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// scanCmd finds messengers in files and folders.
type scanCmd struct {
	JSON          bool     `name:"json" help:"One JSON object per line."`
	Policy        string   `name:"policy" type:"path" placeholder:"FILE" help:"Policy to decide by; else that of the configuration, else the embedded quickstart policy."`
	Host          string   `name:"host" placeholder:"NAME" help:"The machine that findings are attributed to; this one without it."`
	OneFileSystem bool     `name:"one-file-system" help:"Do not cross into other file systems."`
	Quarantine    bool     `name:"quarantine" xor:"act" help:"Move files that hold what policy forbids into DATA/quarantine. Without it nothing is changed."`
	Remove        bool     `name:"remove" xor:"act" help:"Remove the package that owns such a file, where a fact identifies the messenger for itself; quarantine such files that no package owns."`
	SHA256        []string `name:"sha256" placeholder:"HASH" help:"With --quarantine or --remove: you looked at the file of this SHA-256, and it is to be acted on though nothing identifies it for itself. Repeatable."`
	Plan          string   `name:"plan" type:"path" placeholder:"FILE" xor:"plan" help:"With --quarantine or --remove: write what would be done to a new file, and do nothing."`
	Apply         string   `name:"apply" type:"path" placeholder:"FILE" xor:"plan,act" help:"Do exactly what a plan says, about files that are still what they were."`
	Full          bool     `name:"full" help:"Look into every file, also into those in which an earlier scan with this data directory found nothing and that have not changed since."`
	Background    bool     `name:"background" help:"Give way to everything else on this machine, and wait while it runs on its battery."`
	NoHistory     bool     `name:"no-history" help:"Do not look for where messengers keep conversations."`
	command.DataFlags
	Paths []string `arg:"" optional:"" name:"path" help:"Files and folders."`

	options quarantineOptions // the recorder takes findings and acts
	set     *rules.Set        // what is decided by
	memory  *rescan.Memory    // nil: every file is looked into
}

// Run scans.
func (c *scanCmd) Run(e *command.Env) error {
	plan, err := c.plan()
	if err != nil {
		return err
	}
	if c.Quarantine || c.Remove {
		if err := settle(&c.DataFlags); err != nil {
			return err
		}
	}
	if c.options.recorder == nil {
		c.options = acts(e, &c.DataFlags)
	}
	scanner, err := c.scanner(e)
	if err != nil {
		return err
	}
	defer scanner.Close()
	defer c.forget(e)
	named, err := scanned.NewNamed(c.SHA256, c.set.Policy.File())
	if err != nil {
		return hint.New(err, "the scan without it prints the hashes of what it found")
	}
	if plan != nil {
		named.Approve(plan)
		if now := c.set.Policy.Version(); plan.Policy != now {
			fmt.Fprintf(e.ErrOut, "chaperone: note: the plan was made by policy %s; its files are judged by policy %s now\n", printable.Line(plan.Policy), now)
		}
	}
	planner := &scanned.Planner{Scanner: scanner, Remove: true, Named: named}
	var out scanned.Writer = scanned.NewTable(e.Out, scanner.Watched, planner)
	if c.Quarantine || c.Remove {
		planner.Remove = c.Remove
		out = scanned.NewTable(e.Out, scanner.Watched, nil)
	}
	if c.JSON {
		out = scanned.NewLines(e.Out)
	}
	bombs := scanned.Gather(out)
	forbidden, summary, err := c.scan(e, planner, bombs)
	if err := errors.Join(err, bombs.Flush()); err != nil {
		return command.Interrupted(e, err, c.options.recorder)
	}
	if err := warn(e, scanner); err != nil {
		return err
	}
	failed, err := c.act(e, planner, plan, forbidden)
	if err != nil {
		return err
	}
	if err := out.Close(summary, forbidden); err != nil {
		return err
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d files could not be taken away", failed)
	case len(forbidden) > 0:
		return command.ErrFindings
	}
	return nil
}

// plan reads the plan that is to be carried out, and takes over what it says.
func (c *scanCmd) plan() (*scanned.Plan, error) {
	switch {
	case c.Plan != "" && !c.Quarantine && !c.Remove:
		return nil, hint.New(errors.New("--plan without --quarantine or --remove"), "chaperone scan --remove --plan FILE PATH... writes down what --remove would do")
	case c.Apply == "" && len(c.Paths) == 0:
		return nil, hint.New(errors.New("expected \"<path> ...\""), "chaperone scan PATH... looks into files and folders")
	case c.Apply == "":
		return nil, nil
	case len(c.Paths) > 0:
		return nil, hint.New(errors.New("--apply with paths"), "a plan names its files; write another for others")
	}
	plan, err := scanned.ReadPlan(c.Apply)
	if err != nil {
		return nil, hint.New(err, "chaperone scan --remove --plan FILE PATH... writes a plan")
	}
	host, err := c.host()
	if err != nil {
		return nil, err
	}
	if plan.Host != host {
		return nil, hint.New(fmt.Errorf("the plan is for host %s, this is %s", plan.Host, host), "a plan is carried out where it was made")
	}
	c.Remove, c.Quarantine, c.NoHistory = plan.Remove, !plan.Remove, true
	for _, p := range plan.Paths() {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) { // Apply says what is gone, the scan what cannot be reached
			c.Paths = append(c.Paths, p)
		}
	}
	return plan, nil
}

// warn says how far the parsers are not confined.
func warn(e *command.Env, scanner *scan.Scanner) error {
	status, err := scanner.Sandbox(e.Ctx)
	if err != nil {
		return err
	}
	if d := status.Degraded(); d != "" {
		fmt.Fprintln(e.ErrOut, "chaperone: warning: sandbox:", d)
	}
	return nil
}

// scan runs the scan and returns the findings that policy forbids, one for each file.
func (c *scanCmd) scan(e *command.Env, planner *scanned.Planner, out scanned.Writer) ([]*scan.Finding, scan.Summary, error) {
	var forbidden []*scan.Finding
	var expected int64
	if c.memory != nil {
		expected = c.memory.Expected(c.Paths)
	}
	stop := scanProgress(e, planner.Scanner, expected)
	defer stop()
	summary, err := planner.Scanner.Scan(e.Ctx, c.Paths, func(r scan.Result) error {
		if r.Problem != nil {
			if c.Apply != "" && planner.Unread == nil {
				planner.Unread = map[string]*scan.Problem{}
			}
			if c.Apply != "" && r.Problem.Inside == "" && len(planner.Unread) < scanned.MaxActs {
				planner.Unread[r.Problem.Path] = r.Problem
			}
			return out.Problem(r.Problem)
		}
		if r.Finding.Event.Program.Form == scan.History && len(planner.Found) < scanned.MaxActs {
			planner.Found = append(planner.Found, r.Finding)
		}
		if r.Finding.Event.Verdict.Action.Stops() {
			forbidden = planner.Named.Add(forbidden, r.Finding)
		}
		return out.Finding(r.Finding)
	})
	if err == nil && c.memory != nil {
		err = c.memory.Finish(c.Paths, summary.Files)
	}
	return forbidden, summary, err
}

// forget closes the memory: what was looked into stays known, also when the scan was interrupted.
func (c *scanCmd) forget(e *command.Env) {
	if c.memory == nil {
		return
	}
	if err := c.memory.Close(); err != nil {
		fmt.Fprintln(e.ErrOut, "chaperone: warning:", err)
	}
}

// remember opens the memory of earlier scans, where a data directory is named.
func (c *scanCmd) remember(e *command.Env, dir, host string) {
	if c.Data == "" && c.Config == "" || c.Full || c.Apply != "" {
		return
	}
	m, why, err := scanned.OpenMemory(dir, c.set.Policy, c.set.Catalog, host, time.Now())
	if err != nil {
		why = err.Error() + ": every file is looked into"
	}
	if why != "" {
		fmt.Fprintln(e.ErrOut, "chaperone: note:", why)
		return
	}
	c.memory = m
}

// act does what the flags ask for, after the scan, and returns how many files it could not be done to.
func (c *scanCmd) act(e *command.Env, planner *scanned.Planner, plan *scanned.Plan, forbidden []*scan.Finding) (failed int, err error) {
	if !c.Quarantine && !c.Remove || len(forbidden) == 0 && plan == nil && c.Plan == "" {
		return 0, nil
	}
	host, err := c.host()
	if err != nil {
		return 0, err
	}
	if planner.Store, err = openQuarantine(&c.DataFlags, host, c.options); err != nil {
		return 0, err
	}
	defer planner.Store.Close()
	if c.Plan != "" {
		return 0, c.write(e, planner, host, forbidden)
	}
	a := &scanned.Actor{Planner: *planner, Out: e.Out, JSON: c.JSON}
	if plan != nil {
		err = plan.Apply(e.Ctx, a, forbidden)
		return a.Failed, err
	}
	for _, f := range forbidden {
		if err := a.Do(e.Ctx, a.Act(e.Ctx, f)); err != nil {
			return a.Failed, err
		}
	}
	return a.Failed, nil
}

// write writes the plan.
func (c *scanCmd) write(e *command.Env, planner *scanned.Planner, host string, forbidden []*scan.Finding) error {
	p := scanned.Plan{Host: host, Time: time.Now().UTC(), Remove: c.Remove, Policy: c.set.Policy.Version(), Catalog: c.set.Catalog.Version()}
	for _, f := range forbidden {
		p.Add(e.Ctx, planner, f)
	}
	if err := p.Write(c.Plan); err != nil {
		return err
	}
	if c.JSON {
		return nil
	}
	_, err := fmt.Fprintf(e.Out, "plan for %d files in %s; nothing was changed. chaperone scan --apply %s carries it out\n", len(p.Acts), c.Plan, c.Plan)
	return err
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
	c.set = set
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
	o := scan.Options{Catalog: set.Catalog, Policy: set.Policy, Recorder: c.options.recorder, Host: event.Host{Name: host},
		OneFileSystem: c.OneFileSystem, NoHistory: c.NoHistory, Skip: skip}
	if c.Background {
		if err := scanned.Background(); err != nil {
			return nil, err
		}
		o.Pause = func() bool { return scanned.OnBattery("/sys") }
		o.Timeout = time.Minute // whoever gives way to others waits
	}
	if c.remember(e, dir, host); c.memory != nil {
		o.Memory = c.memory
	}
	return scan.New(o)
}

// scanProgress shows counts on a terminal until the function it returns is called.
func scanProgress(e *command.Env, s *scan.Scanner, expected int64) (stop func()) {
	w := command.Terminal(e.ErrOut)
	if w == nil {
		return func() {}
	}
	quit, done, begun := make(chan struct{}), make(chan struct{}), time.Now()
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
				fmt.Fprintf(w, "\r\x1b[K%d files, %s, %d findings, %d errors%s", n.Files, scanned.Bytes(n.Bytes), n.Findings, n.Errors, scanned.Left(n.Files, expected, time.Since(begun)))
			}
		}
	}()
	return func() { close(quit); <-done }
}
