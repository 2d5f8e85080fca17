//go:build linux

package fleetcmd

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server/execution"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

type learnedCmd struct {
	listing
	Accept  string        `name:"accept" placeholder:"ID" xor:"do" help:"Approve what a proposal names, for a host, person or group."`
	Dismiss string        `name:"dismiss" placeholder:"ID" xor:"do" help:"Drop a proposal. It comes again when its programs run again."`
	Host    string        `name:"host" xor:"who" help:"For one machine."`
	Person  string        `name:"person" xor:"who" help:"For the machines of one person."`
	Group   string        `name:"group" xor:"who" help:"For the machines of a group of the policy."`
	For     time.Duration `name:"for" default:"8760h" help:"How long, up to a year."`
	Reason  string        `name:"reason" help:"Why."`
}

// Run lists proposals, or decides about one.
func (c *learnedCmd) Run(e *command.Env) error {
	if c.Accept == "" && c.Dismiss == "" {
		return table(e, &c.listing, "execution.learned", struct{}{}, "ID\tKIND\tNAME\tFILES\tSTARTS\tMACHINES\tLAST\tREADY",
			"nothing was learned: agents in mode learn (agent.mode) record what lockdown would stop", func(p execution.Proposal) []string {
				return []string{p.ID, p.Kind, p.Name, strconv.Itoa(len(p.Files)), strconv.FormatInt(p.Times, 10), machines(&p), stamp(p.Last), stamp(p.Ready)}
			})
	}
	a := execution.DecideArgs{ID: c.Accept + c.Dismiss, Dismiss: c.Dismiss != "", For: c.For, Reason: c.Reason}
	if a.Subject, a.Name = whom(c.Host, c.Person, c.Group); a.Name == "" && c.Accept != "" {
		return hint.New(errors.New("nobody is named for whom it is"), "--host, --person or --group")
	}
	var b bytes.Buffer
	failed := operate(e, &c.DataFlags, "execution.decide", a, &b)
	err := lines(&b, func(_ []byte, x fleet.Approval) error {
		_, err := fmt.Fprintf(e.Out, "approved until %s UTC: %s for %s (%s)\n", stamp(x.Until), printable.Line(x.What()), printable.Line(x.For()), x.ID)
		return err
	})
	return errors.Join(failed, err)
}

func machines(p *execution.Proposal) string {
	text := strings.Join(p.Hosts[:min(len(p.Hosts), 3)], " ")
	if n := len(p.Hosts) - 3; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
