//go:build linux

package main

import (
	"fmt"
	"io"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/server"
)

// disposeCmd destroys the content of records whose time is over.
type disposeCmd struct {
	command.DataFlags
	command.SignFlags
	Reason string `name:"reason" required:"" placeholder:"TEXT" help:"Why; it stands in each certificate."`
	Do     bool   `name:"do" help:"Do it. Without it, say what would be done."`
	JSON   bool   `name:"json" help:"The numbers as one JSON object."`
}

// Run tries, or does it.
func (c *disposeCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	args := server.DisposeArgs{Sign: s, Reason: c.Reason, Do: c.Do}
	if c.JSON {
		return command.ReadingHint(command.Operate(e, &c.DataFlags, "dispose", args, nil, e.Out))
	}
	var d retention.Disposal
	if err := command.ReadingHint(command.OperateInto(e, &c.DataFlags, "dispose", args, &d)); err != nil {
		return err
	}
	return c.report(e.Out, d)
}

func (c *disposeCmd) report(out io.Writer, d retention.Disposal) error {
	held := 0
	for _, n := range d.Held {
		held += n
	}
	if d.Unread > 0 {
		fmt.Fprintf(out, "%d records cannot be read, because their keys are missing, and were left: what they say decides how long they are kept and whether a hold covers them\n", d.Unread)
	}
	if d.KeysLost > 0 {
		fmt.Fprintf(out, "the keys of %d of the records disposed of were missing: their sealed bytes are dropped, so that keys that come back open nothing\n", d.KeysLost)
	}
	if !c.Do {
		_, err := fmt.Fprintf(out, "%d records are past their retention; %d are held and stay; %d would be disposed of. Nothing was done: --do does it\n", d.Due, held, d.Due-held)
		return err
	}
	_, err := fmt.Fprintf(out, "%d records were past their retention; %d are held and stay; %d were disposed of, each with a certificate of run %s\n", d.Due, held, d.Disposed, d.Run)
	return err
}
