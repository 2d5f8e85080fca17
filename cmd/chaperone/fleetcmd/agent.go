//go:build linux

package fleetcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/update"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server"
)

// agentCmd is the fleet's client on a machine. The agent that decides about programs has no network: this is the process that has, and what
// the agent records goes through the control socket of its data directory to here, as it would to serve.
type agentCmd struct {
	command.DataFlags
	reachFlags
	Scan  []string      `name:"scan" type:"path" placeholder:"PATH" help:"Folders to scan."`
	Every time.Duration `name:"every" default:"24h" help:"How often."`

	Within time.Duration `name:"update-within" default:"2m" hidden:"" help:"For tests: how long a release may take to show that it works."`
}

// Run works for the fleet until it is ended, or until another program was installed in the place of this one.
func (c *agentCmd) Run(e *command.Env) error {
	err := c.run(e)
	if errors.Is(err, update.ErrReplaced) {
		return syscall.Exec(update.Binary, again(), os.Environ())
	}
	return err
}

func (c *agentCmd) run(e *command.Env) error {
	cfg, err := c.Load()
	if err != nil {
		return err
	}
	dir := cfg.Data()
	if err := control.Do(e.Ctx, dir, "health", struct{}{}, nil, io.Discard); !errors.Is(err, control.ErrNotRunning) {
		return hint.New(fmt.Errorf("another process serves %s", dir), "an agent has a data directory of its own, which serve does not use: data_dir in its configuration")
	}
	var updates *update.Updater
	j, err := join(e, joining{state: State(dir), server: address(cfg.Agent.Server), quarantine: filepath.Join(dir, "quarantine"), mode: cfg.Agent.Mode, level: slog.LevelInfo, updates: func(j *joined) client.Updater {
		if updates = c.updater(e.Ctx, j, cfg); updates == nil {
			return nil
		}
		return updates
	}})
	if err != nil {
		return err
	}
	defer j.close()
	l, err := control.Listen(dir)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(e.Ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() { c.scans(ctx, j) })
	if err := j.follow(ctx, &beside, cfg, dir); err != nil {
		return errors.Join(err, l.Close())
	}
	replaced := make(chan error, 1)
	beside.Go(func() {
		replaced <- watchUpdates(ctx, updates)
		stop()
	})
	served := make(chan error, 1)
	beside.Go(func() {
		served <- control.Serve(ctx, l, dir, j.operations(), rootOnly{})
		stop()
	})
	err = j.Run(ctx)
	stop()
	return errors.Join(err, <-served, <-replaced)
}

// State is where the machine with that data directory keeps what it has from its fleet.
func State(data string) string { return filepath.Join(data, "fleet") }

// rootOnly is who may use the control socket of an agent.
type rootOnly struct{}

// ByUser implements control.Accounts.
func (rootOnly) ByUser(uid uint32) (control.Caller, bool) {
	return control.Caller{Account: account.System, Roles: []control.Role{control.Administrator}}, uid == 0
}

// scans scans again and again; the first time a while after the start, so that a fleet does not begin all at once.
func (c *agentCmd) scans(ctx context.Context, j *joined) {
	if len(c.Scan) == 0 {
		return
	}
	select {
	case <-j.Synced():
	case <-time.After(time.Minute):
	case <-ctx.Done():
		return
	}
	for wait := rand.N(min(c.Every, 10*time.Minute)); ; wait = c.Every {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if j.set.Load() == nil {
			continue
		}
		inv, err := j.scan(ctx, presentRoots(c.Scan), c.reachFlags)
		if err == nil {
			err = j.reportInventory(inv)
		}
		if err != nil && ctx.Err() == nil {
			j.log.Error("scan for the fleet", "error", err)
		}
	}
}

// presentRoots are the folders to scan. One that is not there now stays under its name: what it held is gone, until it is back.
func presentRoots(paths []string) []string {
	var out []string
	for _, p := range paths {
		if real, err := realPath(p); err == nil {
			p = real
		}
		if len(out) < protocol.MaxPaths && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// operations are what the agent on this machine asks for.
func (j *joined) operations() control.Operations {
	admin := []control.Role{control.Administrator}
	return control.Operations{
		control.With("record", admin, j.record),
		control.With("hold.host", admin, func(_ context.Context, call *control.Call, _ json.RawMessage) error {
			return json.NewEncoder(call.Out).Encode(server.HostHeld{Held: j.Current().Held})
		}),
		control.With("health", admin, func(_ context.Context, call *control.Call, _ struct{}) error {
			b := j.Current()
			return json.NewEncoder(call.Out).Encode(map[string]any{"generation": b.Generation, "waiting": j.spool.Waiting()})
		}),
	}
}

// batch bounds the events of one write to the spool.
const batch = 64

// record spools what the agent on this machine records. A person's request for an exception goes to the administrators besides.
func (j *joined) record(ctx context.Context, call *control.Call, _ struct{}) error {
	in := json.NewDecoder(io.LimitReader(call.In, 1<<30))
	var events []*event.Event
	for {
		var w server.Wire
		err := in.Decode(&w)
		if err == nil {
			var e *event.Event
			if e, err = w.Event(); err != nil {
				return err
			}
			events = append(events, e)
		}
		if len(events) == batch || err != nil && len(events) > 0 {
			if failed := j.take(ctx, events); failed != nil {
				return failed
			}
			events = events[:0]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
}

func (j *joined) take(ctx context.Context, events []*event.Event) error {
	if err := j.recorder.Record(ctx, events...); err != nil {
		return err
	}
	for _, e := range events {
		if e.Act == nil || e.Phase != "program.request" {
			continue
		}
		r := protocol.Request{ID: string(e.ID), SHA256: e.Act.Object, User: e.From.Handle, Reason: e.Act.Purpose}
		for _, d := range e.Act.Details {
			if d.Name == "path" {
				r.Path = d.Value
			}
		}
		if err := j.Report(protocol.RequestItem, r); err != nil {
			return err
		}
	}
	return nil
}

// InForce returns what a machine of a fleet decides by, and whose it is; nil before the first policy has come.
func InForce(ctx context.Context, data string) (*rules.Set, error) {
	b, err := client.Stored(ctx, State(data), time.Now)
	if errors.Is(err, client.ErrNotEnrolled) || err == nil && b.Generation == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return Rules(b)
}

// lookEvery is how often a machine looks for another policy of its fleet.
const lookEvery = time.Second

// Watch tells reload whenever another policy of the fleet lies on the machine, until the context ends.
func Watch(ctx context.Context, data string, reload chan<- os.Signal) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := stampOf(data)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now := stampOf(data); now != last {
			select {
			case reload <- syscall.SIGHUP:
				last = now
			default: // it is being loaded: tell it afterwards
			}
		}
	}
}

// stampOf tells one state of the manifests from another.
func stampOf(data string) string {
	out := ""
	for _, name := range client.Manifests() {
		if info, err := os.Stat(filepath.Join(State(data), name)); err == nil {
			out += fmt.Sprintf("%d %d;", info.ModTime().UnixNano(), info.Size())
		}
	}
	return out
}
