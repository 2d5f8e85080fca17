package agentcmd

import (
	"encoding/json"
	"fmt"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/printable"
)

type exceptionsCmd struct {
	doorFlags
	Withdraw string `name:"withdraw" placeholder:"SHA256|FILE" help:"End what approves this program now. Its code is not taken again."`
	Reason   string `name:"reason" placeholder:"TEXT" help:"Why it is withdrawn, for the record."`
	JSON     bool   `name:"json" help:"One JSON object for each exception."`
}

var isSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Run lists or withdraws what codes approved.
func (c *exceptionsCmd) Run(e *command.Env) error {
	if c.Withdraw != "" {
		return c.withdraw(e)
	}
	r, err := c.ask(e, &agent.Request{List: true})
	if err != nil {
		return err
	}
	if c.JSON {
		out := json.NewEncoder(e.Out)
		for _, x := range r.Approved {
			if err := out.Encode(map[string]any{"type": "exception", "sha256": x.SHA256, "until": x.Until, "by": x.By, "since": x.Since}); err != nil {
				return err
			}
		}
	} else if err := table(e, r); err != nil {
		return err
	}
	if r.More > 0 {
		fmt.Fprintf(e.ErrOut, "chaperone: %d more are not shown\n", r.More)
	}
	return nil
}

func table(e *command.Env, r *agent.Reply) error {
	if len(r.Approved) == 0 {
		_, err := fmt.Fprintln(e.Out, "nothing is approved by a code")
		return err
	}
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SHA256\tUNTIL\tGIVEN IN BY\tAT")
	for _, x := range r.Approved {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.SHA256, x.Until.Format(time.RFC3339), printable.Line(x.By), x.Since.Format(time.RFC3339))
	}
	return w.Flush()
}

func (c *exceptionsCmd) withdraw(e *command.Env) error {
	program := c.Withdraw
	if !isSum.MatchString(program) {
		var err error
		if program, err = hash(program); err != nil {
			return err
		}
	}
	r, err := c.ask(e, &agent.Request{SHA256: program, Withdraw: true, Reason: c.Reason})
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(map[string]any{"type": "withdrawn", "sha256": program, "exceptions": r.Exceptions, "id": r.ID})
	}
	_, err = fmt.Fprintf(e.Out, "withdrawn: %s does not start any more where policy forbids it; what runs goes on\n", program)
	return err
}
