package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden/lsm"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Rules of verdicts that the programs in the kernel gave.
const (
	RuleFromMemory    = "from-memory"
	RuleFromNamespace = "from-namespace"
)

// What these say to the person.
const (
	sayFromMemory    = "Programs do not run from memory on this machine: nobody could see what they are."
	sayFromNamespace = "Programs do not run from file systems that were mounted in a user namespace on this machine: nobody could see what they are."
)

const (
	programsEvery = 5 * time.Second  // how often is looked whether programs were loaded, or taken away
	programsQuiet = time.Second      // how long one waits for a refusal
	programsAgain = 10 * time.Minute // how often is said that they cannot be loaded
)

// loadPrograms loads the programs in the kernel where an administrator applied them: they end with the machine. Where that fails the rest of the
// agent works all the same, and it is on record.
func (a *Agent) loadPrograms() {
	err := a.programs()
	if err == nil || time.Since(a.complained) < programsAgain {
		return
	}
	a.complained = time.Now()
	a.log.Warn("programs in the kernel", "error", err.Error())
	a.spool.Put(a.gap("programs in the kernel are wanted, and not in force: " + err.Error()))
}

// programs puts the programs in force that are applied.
func (a *Agent) programs() error {
	_, err := harden.NewSwitch("", filepath.Join(a.o.Dir, "harden")).Applied(harden.KernelPrograms)
	if errors.Is(err, harden.ErrNot) {
		return nil
	} else if err != nil {
		return err
	}
	return lsm.New(a.o.Sys).Load()
}

// watchPrograms reports what the programs in the kernel refuse, while there are any.
func (a *Agent) watchPrograms(ctx context.Context) error {
	tick := time.NewTicker(programsEvery)
	defer tick.Stop()
	for {
		if p := lsm.New(a.o.Sys); p.Loaded() {
			if err := a.readPrograms(ctx, p); err != nil {
				a.log.Warn("programs in the kernel", "error", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.loadPrograms()
		}
	}
}

// readPrograms reads until the programs are taken away.
func (a *Agent) readPrograms(ctx context.Context, p *lsm.Programs) error {
	refusals, err := p.Open()
	if err != nil {
		return err
	}
	defer refusals.Close()
	looked := time.Now()
	for ctx.Err() == nil {
		r, err := refusals.Read(programsQuiet)
		switch {
		case err == nil:
			a.refusedByKernel(&r)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
		if time.Since(looked) < programsEvery {
			continue
		}
		if looked = time.Now(); !p.Loaded() {
			return nil
		}
		if n := refusals.Lost(); n > 0 {
			a.spool.Put(a.gap(fmt.Sprintf("programs in the kernel refused %d more starts, of which there was no room to tell", n)))
		}
	}
	return nil
}

// refusedByKernel puts a refusal on record, and tells the person.
func (a *Agent) refusedByKernel(r *lsm.Refusal) {
	a.mu.Lock()
	rules, scanner := a.rules, a.scanner
	a.mu.Unlock()
	e := FromKernel(r, time.Now())
	e.Host, e.From.Handle, e.Verdict.Policy = a.o.Host, scanner.Owner(r.User), rules.Policy.Version()
	stop := judge.Stop{Event: e, UID: r.User, Terminal: judge.Terminal(int32(r.Process)), Refused: true}
	a.stopping(stop)
	a.stopped(stop)
}

// FromKernel is the event of a start that the programs in the kernel refused. They asked nobody, so no rule of a policy stands behind it.
func FromKernel(r *lsm.Refusal, now time.Time) *event.Event {
	e := &event.Event{ID: event.NewID(), Kind: event.ProgramRun, Time: now, Received: now, Connector: "agent"}
	e.Program = &event.Program{Path: r.Path}
	e.NotChecked = []event.NotInspected{{Inspector: "program", Reason: event.ReasonUnavailable, File: r.Path}}
	e.Verdict = event.Verdict{Action: event.Block, Rule: RuleFromMemory, Say: sayFromMemory, Enforced: true,
		Reason: fmt.Sprintf("not inspected: the kernel refused it to process %d (%s)", r.Process, r.Command)}
	if r.Reason == lsm.FromNamespace {
		e.Verdict.Rule, e.Verdict.Say = RuleFromNamespace, sayFromNamespace
	}
	return e
}
