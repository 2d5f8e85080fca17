package policies

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server"
)

type replayCmd struct {
	command.DataFlags
	command.SignFlags
	JSON  bool   `name:"json" help:"One JSON object per record that differs or was erased, and a summary."`
	Query string `arg:"" optional:"" help:"Which records, as in chaperone search. Empty is all."`
}

// Run replays. A verdict that the same version of the policy does not give again is exit status 1.
func (c *replayCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	sum, err := decideAnew(e, &c.DataFlags, "policy.replay", server.ReplayArgs{Sign: s, Query: c.Query}, nil, c.JSON)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(e.Out, "%d of %d verdicts come again from the record, by policy version %s\n", sum.Same, sum.Records, sum.Policy)
		if sum.OtherVersion > 0 {
			fmt.Fprintf(e.Out, "%d were decided by another version of the policy: of them, those that differ are what the change of policy changed\n", sum.OtherVersion)
		}
		if sum.Broken > 0 {
			fmt.Fprintf(e.Out, "%d differ although the same version decided them: their records do not hold what they were decided by\n", sum.Broken)
		}
		command.PrintChanges(e.Out, sum)
	}
	if sum.Broken > 0 {
		return command.ErrFindings
	}
	return nil
}

type dryRunCmd struct {
	command.DataFlags
	command.SignFlags
	Policy string `name:"policy" type:"existingfile" placeholder:"FILE" help:"The new policy; else that of the configuration as it lies there now, else the embedded quickstart policy."`
	JSON   bool   `name:"json" help:"One JSON object per record that would differ or was erased, and a summary."`
	Query  string `arg:"" optional:"" help:"Which records, as in chaperone search. Empty is all."`
}

// Run inspects the texts on record again by the new policy and compares; nothing is changed.
func (c *dryRunCmd) Run(e *command.Env) error {
	file, err := c.PolicyFile(e, c.Policy)
	if err != nil {
		return err
	}
	if _, err := c.RulesOf(file); err != nil {
		return err
	}
	source := policy.DefaultSource()
	if file != "" {
		if source, err = outside.ReadFile(file, policy.MaxFileSize); err != nil {
			return err
		}
	}
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	sum, err := decideAnew(e, &c.DataFlags, "policy.dry-run", server.ReplayArgs{Sign: s, Query: c.Query}, bytes.NewReader(source), c.JSON)
	if err != nil || c.JSON {
		return err
	}
	fmt.Fprintf(e.Out, "%d of %d verdicts would be the same, by policy version %s; texts were inspected again, what was found in files stands\n", sum.Same, sum.Records, sum.Policy)
	command.PrintChanges(e.Out, sum)
	return nil
}

// decideAnew runs an operation that answers with a line a record and a summary.
func decideAnew(e *command.Env, d *command.DataFlags, op string, args server.ReplayArgs, in io.Reader, plain bool) (server.Replayed, error) {
	r, w := io.Pipe()
	var sum server.Replayed
	printed := make(chan error, 1)
	go func() {
		var err error
		sum, err = printRedecided(e.Out, r, plain)
		r.CloseWithError(err)
		printed <- err
	}()
	err := command.Operate(e, d, op, args, in, w)
	w.Close()
	err = command.ReadingHint(errors.Join(err, <-printed))
	if err == nil && sum.Type == "" {
		err = errors.New("the answer ended early")
	}
	return sum, err
}

// printRedecided prints each line, and returns the summary.
func printRedecided(out io.Writer, in io.Reader, plain bool) (sum server.Replayed, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if plain {
			if _, err := fmt.Fprintf(out, "%s\n", lines.Bytes()); err != nil {
				return sum, err
			}
		}
		var l server.Redecided
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return sum, err
		}
		switch {
		case l.Type == "summary":
			if err := json.Unmarshal(lines.Bytes(), &sum); err != nil {
				return sum, err
			}
		case plain:
		case l.Now == nil:
			fmt.Fprintf(out, "%s %s: recorded %s, content destroyed\n", l.ID, l.Kind, decidedBy(l.Recorded))
		default:
			fmt.Fprintf(out, "%s %s: recorded %s, now %s%s\n", l.ID, l.Kind, decidedBy(l.Recorded), decidedBy(*l.Now), besides(l.Differs))
		}
	}
	return sum, lines.Err()
}

// besides says what else of two verdicts differs than action and rule.
func besides(fields []string) string {
	fields = slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return f == "action" || f == "rule" })
	if len(fields) == 0 {
		return ""
	}
	return "; different: " + printable.Line(strings.Join(fields, ", "))
}

func decidedBy(a server.Answer) string {
	if a.Rule == "" {
		return string(a.Verdict)
	}
	return string(a.Verdict) + " by " + printable.Line(a.Rule)
}
