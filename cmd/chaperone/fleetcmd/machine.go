package fleetcmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/remove"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// stateFlags say where a machine keeps what it got from its fleet.
type stateFlags struct {
	State string `name:"state" type:"path" default:"/var/lib/chaperone-agent/fleet" placeholder:"DIR" help:"Where this machine keeps its key, policy and spool: fleet below the data directory of its agent. On Windows the default lies in ProgramData."`
}

// place makes the state folder private, at the default of this system when no other was named.
func (f *stateFlags) place() error {
	f.State = statePlace(f.State)
	if err := handle.Private(f.State); err != nil {
		return fmt.Errorf("state of the fleet: %w", err)
	}
	return nil
}

type enrollCmd struct {
	stateFlags
	Server string        `name:"server" required:"" placeholder:"HOST:PORT" help:"The fleet's server."`
	Wait   time.Duration `name:"wait" default:"24h" help:"How long to wait for approval. The same command again goes on waiting."`
	Code   string        `arg:"" help:"The enrolment code; - reads it from standard input."`
}

// Run enrols this machine.
func (c *enrollCmd) Run(e *command.Env) error {
	text := c.Code
	if text == "-" {
		buf := make([]byte, 256)
		n, err := e.In.Read(buf)
		if err != nil {
			return fmt.Errorf("read the code: %w", err)
		}
		text = string(buf[:n])
	}
	code, err := protocol.ParseCode(text)
	if err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Server); err != nil {
		return hint.New(fmt.Errorf("server %q: %w", c.Server, err), "--server chaperone.example.org:8444")
	}
	if err := c.place(); err != nil {
		return err
	}
	m, err := client.ThisMachine(e.Version, "once")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.Ctx, c.Wait)
	defer cancel()
	err = client.Enrol(ctx, client.EnrolOptions{Dir: c.State, Server: c.Server, Code: code, Machine: m, Waiting: func(print string) {
		fmt.Fprintf(e.Out, "waiting for approval; this machine's fingerprint is %s\n", print)
	}})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return hint.New(err, "chaperone fleet approve FINGERPRINT on the server lets it in; then run this again")
	case errors.Is(err, client.ErrDenied):
		return hint.New(err, "chaperone fleet enroll-code on the server makes another code")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(e.Out, "this machine belongs to the fleet")
	return err
}

// Rules builds what decides from a bundle of a fleet: its policy with the approvals of this machine, and its catalog.
func Rules(b client.Bundle) (*rules.Set, error) {
	file, err := b.File()
	if err != nil {
		return nil, err
	}
	var cat *catalog.Catalog
	if b.Catalog != nil {
		_, files, err := bundle.Open(b.Catalog, b.CatalogKeys)
		if err != nil {
			return nil, err
		}
		if cat, err = catalog.Load(files); err != nil {
			return nil, err
		}
	}
	return rules.Build(file, cat)
}

// inForce is what a machine decides by.
type inForce struct{ set atomic.Pointer[rules.Set] }

// Apply implements client.Applier.
func (f *inForce) Apply(_ context.Context, b client.Bundle) error {
	set, err := Rules(b)
	if err != nil {
		return err
	}
	f.set.Store(set)
	return nil
}

type onceCmd struct {
	stateFlags
	Server        string        `name:"server" placeholder:"HOST:PORT" help:"The fleet's server, when it is not where this machine was enrolled."`
	Quarantine    string        `name:"quarantine" type:"path" placeholder:"DIR" help:"Where files are taken to by orders; quarantine beside the state without it."`
	Wait          time.Duration `name:"wait" default:"60s" help:"How long to wait for the server. Without it the last policy is used, and what is found is kept until the next time."`
	OneFileSystem bool          `name:"one-file-system" help:"Do not cross into other file systems."`
	Paths         []string      `arg:"" optional:"" name:"path" help:"Files and folders to scan; none without any."`
}

// Run works once.
func (c *onceCmd) Run(e *command.Env) error {
	if err := c.place(); err != nil {
		return err
	}
	c.Paths = alsoScanned(c.Paths)
	if c.Quarantine == "" {
		c.Quarantine = filepath.Join(c.State, "quarantine")
	}
	j, err := join(e, joining{state: c.State, server: c.Server, quarantine: c.Quarantine, mode: "once", briefly: true, level: slog.LevelWarn})
	if err != nil {
		return err
	}
	defer j.close()
	ctx, stop := context.WithCancel(e.Ctx)
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	err = c.work(e, j)
	stop()
	return errors.Join(err, <-done)
}

// joining says how a machine works for its fleet.
type joining struct {
	state, server, quarantine, mode string
	briefly                         bool
	level                           slog.Level
}

// joined is a machine that works for its fleet.
type joined struct {
	*client.Client
	inForce
	spool    *spool.Spool
	recorder *spool.Recorder
	store    *quarantine.Store
	skip     string // the quarantine, free of links
	log      *slog.Logger
}

// join opens the state of an enrolled machine.
func join(e *command.Env, o joining) (*joined, error) {
	j := &joined{log: telemetry.NewLog(e.ErrOut, true, o.level)}
	m, err := client.ThisMachine(e.Version, o.mode)
	if err != nil {
		return nil, err
	}
	if j.spool, err = spool.Open(filepath.Join(o.state, "spool"), 0); err != nil {
		return nil, err
	}
	host := event.Host{Name: m.Name}
	j.recorder = spool.NewRecorder(j.spool, host, time.Now)
	if j.store, err = quarantine.Open(o.quarantine, quarantine.Options{Recorder: j.recorder, Host: host, Account: event.Party{Handle: "agent"}, Log: j.log}); err != nil {
		return nil, errors.Join(err, j.close())
	}
	if j.skip, err = filepath.EvalSymlinks(o.quarantine); err != nil {
		return nil, errors.Join(err, j.close())
	}
	j.Client, err = client.New(e.Ctx, client.Options{Dir: o.state, Server: o.server, Machine: m, Apply: &j.inForce, Execute: remove.New(j.store), Spool: j.spool, Log: j.log, Briefly: o.briefly, FirstTry: 2 * time.Second})
	if errors.Is(err, client.ErrNotEnrolled) {
		err = hint.New(err, "chaperone fleet enroll --state "+o.state+" --server HOST:PORT CODE")
	}
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

func (j *joined) close() error {
	var errs []error
	if j.store != nil {
		errs = append(errs, j.store.Close())
	}
	return errors.Join(append(errs, j.spool.Close())...)
}

// work waits for the server, scans, and waits until the server has it all.
func (c *onceCmd) work(e *command.Env, j *joined) error {
	ctx, cancel := context.WithTimeout(e.Ctx, c.Wait)
	defer cancel()
	select {
	case <-j.Synced():
	case <-ctx.Done():
		fmt.Fprintln(e.ErrOut, "chaperone: warning: the server is not reached; the last policy stays in force, and what is found waits for the next time")
	}
	set := j.set.Load()
	if set == nil {
		return hint.New(errors.New("this machine has no policy of its fleet yet"), "the server must be reached once: chaperone fleet once --wait 5m")
	}
	forbidden := 0
	if len(c.Paths) > 0 {
		inventory, err := j.scan(e.Ctx, c.Paths, c.OneFileSystem)
		if err != nil {
			return err
		}
		for _, p := range inventory.Programs {
			if event.Action(p.Verdict).Stops() {
				forbidden++
			}
		}
		if err := j.Report(protocol.InventoryItem, inventory); err != nil {
			return err
		}
	}
	if err := j.Orders(e.Ctx); err != nil {
		return err
	}
	c.drain(e, j.spool)
	b := j.Current()
	fmt.Fprintf(e.Out, "policy %s, generation %d; %d programs that it forbids; %d reports wait for the server\n", set.Policy.Version(), b.Generation, forbidden, j.spool.Waiting())
	if forbidden > 0 {
		return command.ErrFindings
	}
	return nil
}

// drain waits until the server has what was spooled.
func (c *onceCmd) drain(e *command.Env, s *spool.Spool) {
	ctx, cancel := context.WithTimeout(e.Ctx, c.Wait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.Waiting() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// scan makes the inventory of this machine. Findings are spooled as they come.
func (j *joined) scan(ctx context.Context, paths []string, oneFileSystem bool) (protocol.Inventory, error) {
	set := j.set.Load()
	inv := protocol.Inventory{Scanned: time.Now().UTC(), Paths: paths[:min(len(paths), 64)]}
	host, err := os.Hostname()
	if err != nil {
		return inv, err
	}
	scanner, err := scan.New(scan.Options{Catalog: set.Catalog, Policy: set.Policy, Recorder: j.recorder, Host: event.Host{Name: host, Person: j.Current().Person}, Connector: "agent", OneFileSystem: oneFileSystem, Skip: []string{j.skip}})
	if err != nil {
		return inv, err
	}
	defer scanner.Close()
	summary, err := scanner.Scan(ctx, paths, func(r scan.Result) error {
		if f := r.Finding; f != nil && len(inv.Programs) < protocol.MaxPrograms {
			inv.Programs = append(inv.Programs, programOf(f))
		} else if f != nil {
			inv.Omitted++
		}
		return nil
	})
	inv.Files, inv.Errors = summary.Files, summary.Errors
	return inv, err
}

func programOf(f *scan.Finding) protocol.Program {
	text := func(s string) string { return strings.ToValidUTF8(s[:min(len(s), 1024)], "\uFFFD") }
	p := f.Event.Program
	return protocol.Program{App: p.App, Version: text(p.Version), Form: text(p.Form), Path: text(f.Real), Inside: text(f.Inside), SHA256: f.File.SHA256, Size: f.File.Size, Publisher: text(p.Publisher),
		Verdict: string(f.Event.Verdict.Action), Rule: f.Event.Verdict.Rule, Certain: f.Certain(), Identity: f.Identity()}
}
