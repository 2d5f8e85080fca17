package policies

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/policy/export/formats"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server/execution"
)

type firedCmd struct {
	command.DataFlags
	Format string   `name:"format" placeholder:"NAME" help:"One enforcer: fapolicyd, santa, applocker or appcontrol."`
	Found  []string `name:"found" type:"path" placeholder:"FILE" help:"Findings that export was given with --found: the rules made of them are listed too."`
	Never  bool     `name:"never" help:"Only rules that never fired."`
	JSON   bool     `name:"json" help:"One JSON object per line."`
}

// Run lists the exported rules.
func (c *firedCmd) Run(e *command.Env) error {
	if f, ok := formats.ByName(c.Format); c.Format != "" && (!ok || f.Rules == nil) {
		return hint.New(fmt.Errorf("no enforcer called %q says what it stopped", c.Format), "fapolicyd, santa, applocker and appcontrol do")
	}
	dir, err := c.Dir()
	if err != nil {
		return err
	}
	args := execution.FiredArgs{Format: c.Format}
	if args.Found, err = readAllFound(c.Found); err != nil {
		return err
	}
	var b bytes.Buffer
	err = control.Do(e.Ctx, dir, "execution.fired", args, nil, &b)
	if errors.Is(err, control.ErrNotRunning) {
		return hint.New(err, "chaperone serve reads the logs of other enforcers: start it, with endpoint.logs in its configuration or a fleet whose agents have agent.logs")
	}
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(e.Out, 0, 8, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(table, "ENFORCER\tRULE\tMESSENGER\tPOLICY\tFIRED\tLAST")
	}
	lines := bufio.NewScanner(&b)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var f execution.Fired
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return err
		}
		switch {
		case c.Never && (f.Times > 0 || f.Type != "rule"):
		case c.JSON:
			fmt.Fprintf(e.Out, "%s\n", lines.Bytes())
		default:
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", f.Enforcer, printable.Line(f.Key), f.App, policyOf(&f), f.Times, lastOf(&f))
		}
	}
	return errors.Join(lines.Err(), table.Flush())
}

func policyOf(f *execution.Fired) string {
	if f.Type != "rule" {
		return "(not exported)"
	}
	return printable.Line(f.Rule)
}

func lastOf(f *execution.Fired) string {
	if f.Last.IsZero() {
		return "never"
	}
	return f.Last.UTC().Format(time.RFC3339)
}
