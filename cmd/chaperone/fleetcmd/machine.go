package fleetcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	c.Server = address(c.Server)
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

// Rules builds what decides from a bundle of a fleet: its policy with the approvals of this machine, and its catalog. An approval that could
// be no rule is left out: it lets nothing run, and never keeps the policy from coming.
func Rules(b client.Bundle) (*rules.Set, error) {
	set, _, err := understood(b)
	return set, err
}

// understood is Rules, and says which approvals were left out.
func understood(b client.Bundle) (set *rules.Set, wrong []error, err error) {
	cat, err := catalogOf(b)
	if err != nil {
		return nil, nil, err
	}
	if set, err = build(b, cat); err == nil || len(b.Approvals) == 0 {
		return set, nil, err
	}
	var apps []string
	for _, app := range cat.Apps() {
		apps = append(apps, app.ID)
	}
	all := b.Approvals
	b.Approvals = nil
	for _, a := range all {
		if err := client.CheckApproval(a, apps); err != nil {
			wrong = append(wrong, fmt.Errorf("exception %s: %w", a.ID, err))
			continue
		}
		b.Approvals = append(b.Approvals, a)
	}
	set, err = build(b, cat)
	return set, wrong, err
}

func build(b client.Bundle, cat *catalog.Catalog) (*rules.Set, error) {
	file, err := b.File()
	if err != nil {
		return nil, err
	}
	return rules.Build(file, cat)
}

// catalogOf is the catalog of a bundle, or the built-in one.
func catalogOf(b client.Bundle) (*catalog.Catalog, error) {
	if b.Catalog == nil {
		return catalog.Default()
	}
	_, files, err := bundle.Open(b.Catalog, b.CatalogKeys)
	if err != nil {
		return nil, err
	}
	return catalog.Load(files)
}

// inForce is what a machine decides by.
type inForce struct {
	set   atomic.Pointer[rules.Set]
	wrong func(error) // told of what could not be taken of it
}

// Apply implements client.Applier.
func (f *inForce) Apply(_ context.Context, b client.Bundle) error {
	set, wrong, err := understood(b)
	if err != nil {
		return err
	}
	for _, w := range wrong {
		f.wrong(w)
	}
	f.set.Store(set)
	return nil
}

// joining says how a machine works for its fleet.
type joining struct {
	state, server, quarantine, mode string
	briefly                         bool
	level                           slog.Level
	told                            func(o protocol.Order, r protocol.Report) // of orders that were carried out
	updates                         func(j *joined) client.Updater            // may be nil
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
	lock     io.Closer // of the state: numbers of the spool are given by one process
}

// join opens the state of an enrolled machine.
func join(e *command.Env, o joining) (*joined, error) {
	j := &joined{log: telemetry.NewLog(e.ErrOut, true, o.level)}
	j.wrong = func(err error) { j.log.Error("left out of the policy of the fleet", "error", err) }
	m, err := client.ThisMachine(e.Version, o.mode)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.state, 0o700); err != nil {
		return nil, fmt.Errorf("state of the fleet: %w", err)
	}
	if j.lock, err = lock(filepath.Join(o.state, "lock")); err != nil {
		return nil, hint.New(fmt.Errorf("another process works with %s: %w", o.state, err), "where chaperone fleet agent runs, fleet once is not needed")
	}
	if j.spool, err = spool.Open(filepath.Join(o.state, "spool"), 0); err != nil {
		return nil, errors.Join(err, j.close())
	}
	host := event.Host{Name: m.Name}
	j.recorder = spool.NewRecorder(j.spool, host, time.Now)
	if j.store, err = quarantine.Open(o.quarantine, quarantine.Options{Recorder: j.recorder, Host: host, Account: event.Party{Handle: "agent"}, Log: j.log}); err != nil {
		return nil, errors.Join(err, j.close())
	}
	if j.skip, err = filepath.EvalSymlinks(o.quarantine); err != nil {
		return nil, errors.Join(err, j.close())
	}
	var updates client.Updater
	if o.updates != nil {
		updates = o.updates(j)
	}
	j.Client, err = client.New(e.Ctx, client.Options{Dir: o.state, Update: updates, Server: o.server, Machine: m, Apply: &j.inForce, Execute: remove.New(j.store), Spool: j.spool, Log: j.log, Told: o.told, Briefly: o.briefly, FirstTry: 2 * time.Second})
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
	if j.spool != nil {
		errs = append(errs, j.spool.Close())
	}
	return errors.Join(append(errs, j.lock.Close())...)
}

// address is host:port of a server that is also called https://host:port.
func address(server string) string {
	return strings.TrimSuffix(strings.TrimPrefix(server, "https://"), "/")
}
