package fleetcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/printable"
)

type onceCmd struct {
	stateFlags
	reachFlags
	Server     string        `name:"server" placeholder:"HOST:PORT" help:"The fleet's server, when it is not where this machine was enrolled."`
	Quarantine string        `name:"quarantine" type:"path" placeholder:"DIR" help:"Where files are taken to by orders; quarantine beside the state without it."`
	Wait       time.Duration `name:"wait" default:"60s" help:"How long to wait for the server. Without it the last policy is used, and what is found is kept until the next time."`
	JSON       bool          `name:"json" help:"One JSON object per line: each program, each order, and a summary."`
	Paths      []string      `arg:"" optional:"" name:"path" help:"Files and folders to scan; none without any."`
}

// Run works once.
func (c *onceCmd) Run(e *command.Env) error {
	roots, err := rootsOf(alsoScanned(c.Paths))
	if err != nil {
		return err
	}
	if err := c.place(); err != nil {
		return err
	}
	if c.Quarantine == "" {
		c.Quarantine = filepath.Join(c.State, "quarantine")
	}
	out := &deeds{e: e, json: c.JSON}
	j, err := join(e, joining{state: c.State, server: address(c.Server), quarantine: c.Quarantine, mode: "once", briefly: true, level: slog.LevelWarn, told: out.order})
	if err != nil {
		return err
	}
	defer j.close()
	ctx, stop := context.WithCancel(e.Ctx)
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	err = c.work(e, j, roots, out)
	stop()
	err = errors.Join(err, <-done)
	if words := j.Copied(); words != "" && (err == nil || errors.Is(err, command.ErrFindings)) {
		return hint.New(fmt.Errorf("%s; what it held went up all the same, and what is missing is on record", words),
			"after a snapshot was restored nothing more is to be done; where two machines have the same state, remove "+c.State+" on one and enrol it: chaperone fleet enroll")
	}
	return err
}

// rootsOf are the paths to scan, absolute and free of links, as the inventory is kept by them. One that is not there is an error: it would
// look like a machine on which nothing is.
func rootsOf(paths []string) ([]string, error) {
	if len(paths) > protocol.MaxPaths {
		return nil, fmt.Errorf("%d paths, at most %d", len(paths), protocol.MaxPaths)
	}
	var out []string
	for _, p := range paths {
		real, err := realPath(p)
		if err != nil {
			return nil, hint.New(err, "nothing was scanned, and nothing was reported; name what is there")
		}
		if !slices.Contains(out, real) {
			out = append(out, real)
		}
	}
	return out, nil
}

func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(real)
}

// work waits for the server, scans, and waits until the server has it all.
func (c *onceCmd) work(e *command.Env, j *joined, roots []string, out *deeds) error {
	ctx, cancel := context.WithTimeout(e.Ctx, c.Wait)
	defer cancel()
	select {
	case <-j.Synced():
	case <-ctx.Done():
		why := ""
		if err := j.Away(); err != nil {
			why = " (" + printable.Line(err.Error()) + ")"
		}
		fmt.Fprintf(e.ErrOut, "chaperone: warning: the server is not reached%s; the last policy stays in force, and what is found waits for the next time\n", why)
	}
	set := j.set.Load()
	if set == nil {
		return hint.New(errors.New("this machine has no policy of its fleet yet"), "the server must be reached once: chaperone fleet once --wait 5m")
	}
	var found protocol.Inventory
	if len(roots) > 0 {
		var err error
		if found, err = j.scan(e.Ctx, roots, c.reachFlags); err != nil {
			return err
		}
		if err := j.reportInventory(found); err != nil {
			return err
		}
	}
	if err := j.Orders(e.Ctx); err != nil {
		return err
	}
	c.drain(e, j)
	return out.summary(j, set.Policy.Version(), &found)
}

// drain waits until the server has what was spooled, when it is reached at all.
func (c *onceCmd) drain(e *command.Env, j *joined) {
	select {
	case <-j.Synced():
	default:
		return
	}
	ctx, cancel := context.WithTimeout(e.Ctx, c.Wait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for j.spool.Waiting() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// deeds are what fleet once says that it did.
type deeds struct {
	e    *command.Env
	json bool

	mu     sync.Mutex
	orders []doneOrder
}

// doneOrder is an order that was carried out. Field names are API.
type doneOrder struct {
	Type   string `json:"type"` // "order"
	Action string `json:"do"`
	protocol.Report
}

// foundProgram is a program that was found. Field names are API.
type foundProgram struct {
	Type string `json:"type"` // "program"
	protocol.Program
}

// onceSummary ends what fleet once says. Field names are API.
type onceSummary struct {
	Type       string   `json:"type"` // "summary"
	Policy     string   `json:"policy"`
	Generation uint64   `json:"generation"`
	Paths      []string `json:"paths"`
	Files      int64    `json:"files"`
	Errors     int64    `json:"errors"`
	Omitted    int      `json:"omitted"`
	Programs   int      `json:"programs"`
	Forbidden  int      `json:"forbidden"`
	Waiting    uint64   `json:"waiting"`
	Copied     string   `json:"copied,omitempty"`
}

// order takes an order that was carried out.
func (a *deeds) order(o protocol.Order, r protocol.Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.orders = append(a.orders, doneOrder{"order", o.Action, r})
}

// summary says what was found and done.
func (a *deeds) summary(j *joined, version string, found *protocol.Inventory) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	forbidden := 0
	for _, p := range found.Programs {
		if event.Action(p.Verdict).Stops() {
			forbidden++
		}
	}
	s := onceSummary{"summary", version, j.Current().Generation, found.Paths, found.Files, found.Errors, found.Omitted, len(found.Programs) + found.Omitted, forbidden, j.spool.Waiting(), j.Copied()}
	say := a.people
	if a.json {
		say = a.lines
	}
	if err := say(s, found.Programs); err != nil {
		return err
	}
	if forbidden > 0 {
		return command.ErrFindings
	}
	return nil
}

func (a *deeds) lines(s onceSummary, programs []protocol.Program) error {
	out := json.NewEncoder(a.e.Out)
	out.SetEscapeHTML(false)
	for _, p := range programs {
		if err := out.Encode(foundProgram{"program", p}); err != nil {
			return err
		}
	}
	for _, o := range a.orders {
		if err := out.Encode(o); err != nil {
			return err
		}
	}
	return out.Encode(s)
}

// mostShown bounds what is shown for people.
const mostShown = 100

func (a *deeds) people(s onceSummary, programs []protocol.Program) error {
	for _, p := range programs[:min(len(programs), mostShown)] {
		fmt.Fprintln(a.e.Out, named(p))
	}
	if n := len(programs) - mostShown; n > 0 {
		fmt.Fprintf(a.e.Out, "and %d more: --json has them\n", n)
	}
	if s.Omitted > 0 {
		fmt.Fprintf(a.e.Out, "%d more programs are left out of the report\n", s.Omitted)
	}
	for _, o := range a.orders {
		a.done(o)
	}
	if s.Errors > 0 {
		fmt.Fprintf(a.e.Out, "%d of %d files could not be looked into\n", s.Errors, s.Files)
	}
	_, err := fmt.Fprintf(a.e.Out, "policy %s, generation %d; %d programs that it forbids; %d reports wait for the server\n", s.Policy, s.Generation, s.Forbidden, s.Waiting)
	return err
}

// named is a program in a line.
func named(p protocol.Program) string {
	path := p.Path
	if p.Inside != "" {
		path += "!/" + p.Inside
	}
	what := p.App
	if what == "" {
		what = "a program"
	}
	return printable.Line(fmt.Sprintf("%s: %s  %s", p.Verdict, strings.TrimSpace(what+" "+p.Version), path))
}

// done says what became of an order.
func (a *deeds) done(o doneOrder) {
	id, _, _ := strings.Cut(o.Order, "-")
	if o.Refused != "" {
		fmt.Fprintf(a.e.Out, "order %s of campaign %s was refused: %s\n", o.Action, printable.Line(id), printable.Line(o.Refused))
		return
	}
	fmt.Fprintf(a.e.Out, "order %s of campaign %s:\n", o.Action, printable.Line(id))
	for _, r := range o.Outcomes {
		fmt.Fprintf(a.e.Out, "    %s\n", outcome(r))
	}
}

// outcome says what became of a file of an order.
func outcome(r protocol.Outcome) string {
	text := r.Path + ": " + r.Action
	if r.Error != "" {
		text = r.Path + ": not done: " + r.Error
	}
	if r.Undo != "" {
		text += "; " + r.Undo + " brings it back"
	}
	return printable.Line(text)
}

// reportInventory hands up what a scan found, as much as one item of the spool holds.
func (j *joined) reportInventory(inv protocol.Inventory) error {
	inv.Programs = slices.Clone(inv.Programs)
	for {
		b, err := protocol.Encode(inv)
		if err != nil {
			return err
		}
		if len(b) <= protocol.MaxItem || len(inv.Programs) == 0 {
			return j.spool.Add(protocol.Item{Kind: protocol.InventoryItem, Body: b})
		}
		fewer := len(inv.Programs) * 9 / 10
		inv.Programs, inv.Omitted = inv.Programs[:fewer], inv.Omitted+len(inv.Programs)-fewer
	}
}

// hostname is this machine's name.
func hostname() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name of this machine: %w", err)
	}
	return name, nil
}
