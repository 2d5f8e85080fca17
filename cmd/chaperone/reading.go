//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/server"
)

// searchCmd searches the record.
type searchCmd struct {
	command.DataFlags
	command.SignFlags
	JSON  bool   `name:"json" help:"One JSON object per line."`
	Limit int    `name:"limit" default:"0" help:"At most so many; 0 is all."`
	Count bool   `name:"count" help:"Print only how many there are."`
	Query string `arg:"" optional:"" help:"Words, \"phrase\", pre*, a NEAR/3 b, AND OR NOT ( ), from: to: person: room: connector: kind: verdict: rule: has: file: matter: after: before:. Empty is everything."`
}

// Run searches.
func (c *searchCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	return show(e, c.JSON || c.Count, "search", server.SearchArgs{Sign: s, Query: c.Query, Limit: c.Limit, Count: c.Count}, &c.DataFlags)
}

// personCmd shows one person's time line over all planes.
type personCmd struct {
	command.DataFlags
	command.SignFlags
	JSON  bool   `name:"json" help:"One JSON object per line."`
	Limit int    `name:"limit" default:"0" help:"At most so many; 0 is all."`
	Who   string `arg:"" help:"A person, a handle, a host or an address."`
}

// Run shows.
func (c *personCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	return show(e, c.JSON, "person", server.PersonArgs{Sign: s, Who: c.Who, Limit: c.Limit}, &c.DataFlags)
}

// show runs an operation that answers with hits, and prints them as they come.
func show(e *command.Env, plain bool, op string, args any, d *command.DataFlags) error {
	if plain {
		return command.ReadingHint(command.Operate(e, d, op, args, nil, e.Out))
	}
	r, w := io.Pipe()
	printed := make(chan error, 1)
	go func() {
		err := printHits(e.Out, r)
		r.CloseWithError(err)
		printed <- err
	}()
	err := command.Operate(e, d, op, args, nil, w)
	w.CloseWithError(err)
	if failed := <-printed; err == nil {
		err = failed
	}
	return command.ReadingHint(err)
}

func printHits(out io.Writer, in io.Reader) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	const header = "TIME\tKIND\tWHO\tTO\tWHAT\tVERDICT\tRULE"
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 32<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var h search.Hit
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
			return err
		}
		if n == 0 {
			fmt.Fprintln(w, header)
		}
		who := h.From
		if h.Host != "" {
			who = strings.TrimSpace(who + " @" + h.Host)
		}
		to := strings.Join(h.To, ",")
		if h.Room != "" {
			to = h.Room
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Time, h.Kind, printable.Line(who), printable.Line(to), shorten(h.What()), h.Verdict, printable.Line(h.Rule))
		if n%200 == 199 {
			w.Flush()
		}
	}
	if n == 0 && lines.Err() == nil { // nothing was found, which is not the same as a refusal
		fmt.Fprintln(w, header)
	}
	return errors.Join(lines.Err(), w.Flush())
}

// maxShown bounds what is shown of a text in a table, in characters.
const maxShown = 120

func shorten(s string) string {
	s = printable.Line(strings.ReplaceAll(s, "\n", " "))
	if runes := []rune(s); len(runes) > maxShown {
		return string(runes[:maxShown-1]) + "…"
	}
	return s
}

// eraseCmd asks for the destruction of one record's content.
type eraseCmd struct {
	command.DataFlags
	command.SignFlags
	Reason string `name:"reason" required:"" help:"Why."`
	ID     string `arg:"" help:"Id of the record."`
}

// Run asks; the second person who asks carries it out.
func (c *eraseCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	return command.ReadingHint(command.Operate(e, &c.DataFlags, "erase", server.EraseArgs{Sign: s, ID: event.ID(c.ID), Reason: c.Reason}, nil, e.Out))
}

// rebuildCmd derives all projections anew.
type rebuildCmd struct{ command.DataFlags }

// Run rebuilds.
func (c *rebuildCmd) Run(e *command.Env) error {
	return command.Operate(e, &c.DataFlags, "rebuild", struct{}{}, nil, e.Out)
}
