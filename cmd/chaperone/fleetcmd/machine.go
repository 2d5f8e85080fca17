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
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// stateFlags say where a machine keeps what it got from its fleet.
type stateFlags struct {
	State string `name:"state" type:"path" default:"/var/lib/chaperone/fleet" placeholder:"DIR" help:"Where this machine keeps its key, policy and spool."`
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
	log := telemetry.NewLog(e.ErrOut, true, slog.LevelWarn)
	m, err := client.ThisMachine(e.Version, "once")
	if err != nil {
		return err
	}
	s, err := spool.Open(filepath.Join(c.State, "spool"), 0)
	if err != nil {
		return err
	}
	defer s.Close()
	host := event.Host{Name: m.Name}
	recorder := spool.NewRecorder(s, host, time.Now)
	if c.Quarantine == "" {
		c.Quarantine = filepath.Join(c.State, "quarantine")
	}
	store, err := quarantine.Open(c.Quarantine, quarantine.Options{Recorder: recorder, Host: host, Account: event.Party{Handle: "agent"}, Log: log})
	if err != nil {
		return err
	}
	defer store.Close()
	force := &inForce{}
	cl, err := client.New(e.Ctx, client.Options{Dir: c.State, Server: c.Server, Machine: m, Apply: force, Execute: remove.New(store), Spool: s, Log: log, Briefly: true, FirstTry: 2 * time.Second})
	if errors.Is(err, client.ErrNotEnrolled) {
		return hint.New(err, "chaperone fleet enroll --server HOST:PORT CODE")
	}
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(e.Ctx)
	done := make(chan error, 1)
	go func() { done <- cl.Run(ctx) }()
	err = c.work(e, cl, force, recorder, s)
	stop()
	return errors.Join(err, <-done)
}

// work waits for the server, scans, and waits until the server has it all.
func (c *onceCmd) work(e *command.Env, cl *client.Client, force *inForce, recorder event.Recorder, s *spool.Spool) error {
	ctx, cancel := context.WithTimeout(e.Ctx, c.Wait)
	defer cancel()
	select {
	case <-cl.Synced():
	case <-ctx.Done():
		fmt.Fprintln(e.ErrOut, "chaperone: warning: the server is not reached; the last policy stays in force, and what is found waits for the next time")
	}
	set := force.set.Load()
	if set == nil {
		return hint.New(errors.New("this machine has no policy of its fleet yet"), "the server must be reached once: chaperone fleet once --wait 5m")
	}
	forbidden := 0
	if len(c.Paths) > 0 {
		inventory, err := c.scan(e, set, recorder)
		if err != nil {
			return err
		}
		for _, p := range inventory.Programs {
			if event.Action(p.Verdict).Stops() {
				forbidden++
			}
		}
		if err := cl.Report(protocol.InventoryItem, inventory); err != nil {
			return err
		}
	}
	if err := cl.Orders(e.Ctx); err != nil {
		return err
	}
	c.drain(e, s)
	b := cl.Current()
	fmt.Fprintf(e.Out, "policy %s, generation %d; %d programs that it forbids; %d reports wait for the server\n", set.Policy.Version(), b.Generation, forbidden, s.Waiting())
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
func (c *onceCmd) scan(e *command.Env, set *rules.Set, recorder event.Recorder) (protocol.Inventory, error) {
	inv := protocol.Inventory{Scanned: time.Now().UTC(), Paths: c.Paths[:min(len(c.Paths), 64)]}
	host, err := os.Hostname()
	if err != nil {
		return inv, err
	}
	skip, err := filepath.EvalSymlinks(c.Quarantine)
	if err != nil {
		return inv, err
	}
	scanner, err := scan.New(scan.Options{Catalog: set.Catalog, Policy: set.Policy, Recorder: recorder, Host: event.Host{Name: host}, Connector: "agent", OneFileSystem: c.OneFileSystem, Skip: []string{skip}})
	if err != nil {
		return inv, err
	}
	defer scanner.Close()
	summary, err := scanner.Scan(e.Ctx, c.Paths, func(r scan.Result) error {
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
		Verdict: string(f.Event.Verdict.Action), Rule: f.Event.Verdict.Rule, Certain: f.Certain()}
}
