// Package agent is the worker side of `chaperone agent`: it puts together what decides on programs, what is told to people, and what is kept
// for the record.
//
// A holder (endpoint/exec/holder) started it, and starts it again whenever it ends. It loads policy and catalog, tells the holder which
// programs the machine cannot do without, and answers. A policy that cannot be loaded later leaves the old one in force.
package agent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/inflight"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/kept"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/ring"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/spool"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// Rules are a policy and the catalog that it names messengers by.
type Rules struct {
	Policy  *policy.Policy
	Catalog *catalog.Catalog
	Old     bool   // they are the last good ones, since those of now cannot be loaded
	Problem string // why these are not what they should be, told in the log, the status and the record
}

// Options are what an agent works with. Socket, Load and Dir are needed.
type Options struct {
	Socket    judge.Socket // to the holder
	Load      func(ctx context.Context) (Rules, error)
	Dir       string // spool and exceptions
	Mode      judge.Mode
	Removable bool           // programs on removable media do not start unless a rule allows them
	Recorder  event.Recorder // where the record is, nil when there is none
	Secret    []byte         // for codes; none are taken without
	Host      event.Host
	Door      string   // socket that people ask at; none without
	Sys       string   // where sysfs is; default /sys
	Programs  bool     // see to the programs in the kernel, as one agent of a machine does
	System    []string // folders on whose file systems lies what a holder that starts anew must not look at again; default /, /usr and /opt
	Teller    Teller   // nil: nobody is told
	Reload    <-chan os.Signal
	Memory    *inflight.Memory // of what is about to be reported; nil: what is, is lost when the worker is killed
	Log       io.Writer        // written to outside of the decision path
}

// Teller tells a person why a program did not start. It never waits.
type Teller interface {
	Tell(s judge.Stop)
}

const (
	lookWorkers = 5 // one user takes up three at most (package judge)
	lookThreads = 2 // somebody waits for the program: it is hashed and searched at the same time
	mustEvery   = 10 * time.Second
)

// Agent is one worker.
type Agent struct {
	o          Options
	log        *slog.Logger // never waits
	judge      *judge.Judge
	spool      *spool.Spool
	exceptions *exception.Store
	seen       *seen
	tickets    tickets
	since      time.Time
	kept       *kept.Store
	boot       string // of the machine, and our binary: what is kept is for these
	self       wire.Key
	steady     []uint64    // devices of the system
	trust      *freshTrust // in lockdown
	packages   *packaged
	forced     forced
	complained time.Time // when it was last said that programs cannot be loaded; of one goroutine at a time

	mu      sync.Mutex
	rules   Rules
	scanner *scan.Scanner
}

// Run works until the holder hangs up or the context ends.
func Run(ctx context.Context, o Options) error {
	lines := ring.NewWriter(o.Log)
	defer lines.Close()
	a := &Agent{o: o, log: telemetry.NewLog(lines, true, slog.LevelInfo), seen: newSeen(), tickets: newTickets(), since: time.Now()}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	rules, err := o.Load(ctx)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	decide, err := a.adopt(rules)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if a.spool, err = spool.Open(filepath.Join(o.Dir, "spool"), o.Recorder, a.log); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	a.spool.About(o.Host)
	a.exceptions = exception.Open(o.Dir, o.Host.Name, o.Secret)
	if err := a.exceptions.Damage(); err != nil {
		a.log.Warn("what was approved by codes is not known: nothing of it is approved", "error", err)
		a.spool.Put(Act(&event.ActDetail{Action: "agent.exceptions.damaged", Details: []event.Fact{{Name: "error", Value: err.Error()}}}, "agent", o.Host))
	}
	jo := judge.Options{Rules: decide, Mode: o.Mode, Removable: o.Removable, Exceptions: a.exceptions, Host: o.Host, Stopped: a.stopped, Stopping: a.stopping, Allowed: a.allowed}
	if o.Mode.Locks() {
		if a.trust, err = packages(ctx); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		jo.Trust = a.trust
		if jo.Loaders, err = loaders(); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	places, err := newPlaces()
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer places.table.close()
	jo.Gone = places.look
	if a.packages, err = newPackaged(o.Dir, "", rules.Catalog, a.log); err != nil {
		a.log.Warn("packages of messengers", "error", err.Error())
	}
	jo.Packages = a.packages
	a.openKept(a.packages.generation(decide.Generation))
	a.judge = judge.New(jo)
	return a.serve(ctx, decide)
}

// serve answers the holder, with all that goes on beside it.
func (a *Agent) serve(ctx context.Context, r judge.Rules) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := errors.Join(a.force(r), a.judge.SetMust(a.o.Socket, mustRun()), a.judge.HandOver(a.o.Socket, a.kept.Keys())); err != nil {
		return err
	}
	left := a.left() // before more comes
	a.announce()
	if a.o.Programs {
		a.loadPrograms()
	}
	var wg sync.WaitGroup
	beside := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn(what, "error", err.Error())
			}
		})
	}
	beside("spool", a.spool.Run)
	if a.o.Memory != nil {
		beside("what an earlier worker left", func(ctx context.Context) error { return a.reportLeft(ctx, left) })
	}
	beside("warm up", a.warmUp)
	again := func(what string, pause time.Duration, f func(context.Context) error) {
		beside(what, func(ctx context.Context) error { return every(ctx, pause, a.log, what, f) })
	}
	again("must-run programs", mustEvery, a.keepMust)
	again("what was allowed", keptEvery, func(context.Context) error { return a.kept.Write() })
	beside("reload", a.reload)
	beside("media", a.watchMedia)
	if a.o.Programs {
		beside("programs in the kernel", a.watchPrograms)
	}
	if a.trust != nil {
		again("packages", trustEvery, func(ctx context.Context) error { return a.trust.renew(ctx, a.judge.Forget) })
	}
	beside("packages of messengers", func(ctx context.Context) error { return a.packages.run(ctx, a.forceAgain) })
	if a.o.Door != "" {
		beside("door", a.openDoor)
	}
	err := a.judge.Serve(ctx, a.o.Socket)
	if ctx.Err() == nil { // the holder hung up
		a.spool.Put(Act(&event.ActDetail{Action: "agent.end"}, "agent", a.o.Host))
	} else {
		_ = a.keepMust(ctx) // what an upgrade brought starts while no other worker decides; a holder that ends too does not listen
	}
	cancel()
	wg.Wait()
	err = errors.Join(err, a.kept.Write())
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(err, a.scanner.Close())
}

// warmUp starts all children of the sandbox, so that nobody waits for one.
func (a *Agent) warmUp(ctx context.Context) error {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer f.Close()
	small, err := os.CreateTemp(a.o.Dir, "warm-up-")
	if err != nil {
		return err
	}
	defer small.Close()
	if err := os.Remove(small.Name()); err != nil {
		return err
	}
	if _, err := io.CopyN(small, f, 4096); err != nil {
		return err
	}
	for range lookWorkers { // they take turns
		if _, _, err := a.current().Identify(ctx, small, ""); err != nil {
			return err
		}
	}
	return nil
}

// adopt makes what decides of rules.
func (a *Agent) adopt(r Rules) (judge.Rules, error) {
	s, err := scan.New(scan.Options{Catalog: r.Catalog, Policy: r.Policy, Host: a.o.Host, Connector: "agent", Recorder: recorder{a}, Workers: lookWorkers, Threads: lookThreads,
		Sys: a.o.Sys, Log: a.log})
	if err != nil {
		return judge.Rules{}, err
	}
	a.mu.Lock()
	old := a.scanner
	a.rules, a.scanner = r, s
	a.mu.Unlock()
	if old != nil {
		go old.Close() // once what it looks at is done
	}
	return judge.Rules{Identifier: s, Policy: r.Policy, Generation: generation(r, a.o), NotInspected: notInspected(r.Policy),
		Varying: varying(r.Policy)}, nil
}

// recorder spools what a scan finds. The spool is opened after the first scanner.
type recorder struct{ a *Agent }

// Record implements event.Recorder.
func (r recorder) Record(ctx context.Context, events ...*event.Event) error {
	return r.a.spool.Record(ctx, events...)
}

// generation is another number for whatever may change a verdict.
func generation(r Rules, o Options) uint64 {
	sum := sha256.Sum256(fmt.Append(nil, r.Policy.Version(), "\x00", r.Catalog.Version(), "\x00", o.Mode, "\x00", o.Removable))
	return binary.LittleEndian.Uint64(sum[:])
}

// notInspected is what policy says of what could not be looked into.
func notInspected(p *policy.Policy) event.Action {
	if a := event.Action(p.File().Otherwise.NotInspected); a != "" {
		return a
	}
	return event.Block
}

// varying reports whether a rule that needs no messenger depends on who starts a program, or when: then what is allowed to one now says
// nothing about others.
func varying(p *policy.Policy) bool {
	ids := map[string]bool{}
	for _, info := range p.Rules() {
		for _, plane := range info.Planes {
			if plane == "programs" {
				ids[info.ID] = true
			}
		}
	}
	for _, r := range p.File().Rules {
		if ids[r.ID] && len(r.Apps) == 0 && (len(r.Groups) > 0 || len(r.Hours) > 0 || r.Until != "" || r.When != "") {
			return true
		}
	}
	return false
}

// reload puts a changed policy in force when told to.
func (a *Agent) reload(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.o.Reload:
		}
		rules, err := a.o.Load(ctx)
		if err == nil && rules.Old {
			a.mu.Lock()
			a.rules.Old, a.rules.Problem = true, rules.Problem
			a.mu.Unlock()
			a.announce()
			err = errors.New(rules.Problem)
		} else if err == nil {
			a.packages.adopt(ctx, rules.Catalog) // before the policy that comes with it
			var next judge.Rules
			if next, err = a.adopt(rules); err == nil {
				err = a.force(next)
			}
		}
		if err != nil {
			a.log.Warn("the old policy stays in force", "error", err.Error())
			continue
		}
		a.announce()
		a.log.Info("policy loaded", "version", rules.Policy.Version(), "problem", rules.Problem)
	}
}

// keepMust tells the holder of must-run programs that were replaced.
func (a *Agent) keepMust(context.Context) error { return a.judge.SetMust(a.o.Socket, mustRun()) }

// every does something again and again, until the context ends. When it fails that is said, once while it fails in the same way, and it is
// done again all the same.
func every(ctx context.Context, pause time.Duration, log *slog.Logger, what string, do func(context.Context) error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch err := do(ctx); {
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			log.Warn(what, "error", said)
		}
	}
}

// stopping keeps what is about to be refused where the end of this process does not lose it.
func (a *Agent) stopping(s judge.Stop) {
	if a.seen.first(&s) {
		a.tickets.keep(a.o.Memory, s.Event)
	}
}

// stopped takes what the judge stopped. It never waits.
func (a *Agent) stopped(s judge.Stop) {
	if ticket, first := a.tickets.take(s.Event.ID); first {
		a.spool.PutThen(s.Event, func() {
			if a.o.Memory != nil {
				a.o.Memory.Done(ticket)
			}
		})
	}
	if s.Refused && a.o.Teller != nil {
		a.o.Teller.Tell(s)
	}
}
