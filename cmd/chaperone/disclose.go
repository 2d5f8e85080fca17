//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server"
)

// discloseCmd tells whom pseudonyms stand for.
type discloseCmd struct {
	command.DataFlags
	command.SignFlags
	JSON      bool     `name:"json" help:"One JSON object per line."`
	Pseudonym []string `arg:"" help:"Pseudonyms, such as person-K4T9-W2MX."`
}

// Run discloses.
func (c *discloseCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	err = command.Operate(e, &c.DataFlags, "disclose", server.DiscloseArgs{Sign: s, Pseudonyms: c.Pseudonym}, nil, &out)
	if c.JSON {
		_, wrong := e.Out.Write(out.Bytes())
		return errors.Join(command.ReadingHint(err), wrong)
	}
	return errors.Join(printDisclosed(e.Out, &out), command.ReadingHint(err)) // those before a mistake were disclosed, and are said
}

func printDisclosed(out io.Writer, in io.Reader) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for d := json.NewDecoder(in); ; {
		var who archive.Disclosed
		err := d.Decode(&who)
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\n", who.Pseudonym, printable.Line(strings.Join(who.Names, ", ")))
	}
}
