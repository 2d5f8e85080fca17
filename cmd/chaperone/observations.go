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
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server"
)

// observationsCmd lists what was seen and is no record.
type observationsCmd struct {
	command.DataFlags
	command.SignFlags
	JSON  bool   `name:"json" help:"One JSON object per line."`
	Host  string `name:"host" placeholder:"NAME" help:"Of a machine: its name, address or id, or whose it is."`
	App   string `name:"app" placeholder:"ID" help:"Of a messenger."`
	After string `name:"after" placeholder:"TIME" help:"Not before this day or time, e.g. 2026-11-25 or 2026-11-25T08:00:00Z."`
	Limit int    `name:"limit" default:"0" help:"At most so many; 0 is all."`
	Hours bool   `name:"hours" help:"The hourly counts of what is older; they name nobody and need no purpose."`
}

// Run lists.
func (c *observationsCmd) Run(e *command.Env) error {
	after, err := timeFlag(c.After)
	if err != nil {
		return err
	}
	args := server.ObservationsArgs{Host: c.Host, App: c.App, After: after, Limit: c.Limit}
	op, print := "observations.hours", printHours
	if !c.Hours {
		op, print = "observations", printObservations
		if args.Sign, err = c.Sign(e); err != nil {
			return err
		}
	} else if c.Host != "" {
		return hint.New(errors.New("hourly counts name no machine"), "leave --host or --hours out")
	}
	if c.JSON {
		return command.ReadingHint(command.Operate(e, &c.DataFlags, op, args, nil, e.Out))
	}
	r, w := io.Pipe()
	printed := make(chan error, 1)
	go func() {
		err := print(e.Out, r)
		r.CloseWithError(err)
		printed <- err
	}()
	err = command.Operate(e, &c.DataFlags, op, args, nil, w)
	w.CloseWithError(err)
	if failed := <-printed; err == nil {
		err = failed
	}
	return command.ReadingHint(err)
}

// timeFlag reads a day or a time, in UTC unless it says otherwise.
func timeFlag(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, hint.New(fmt.Errorf("%q is no time", s), "as in 2026-11-25 or 2026-11-25T08:00:00Z")
}

func printObservations(out io.Writer, in io.Reader) error {
	return printLines(out, in, "LAST\tTIMES\tKIND\tHOST\tMESSENGER\tNAME\tSERVER\tBYTES\tVERDICT\tRULE", func(w io.Writer, o *server.ObservationLine) {
		host := o.Host
		if host == "" {
			host = o.Address
		}
		if o.Person != "" {
			host += " (" + o.Person + ")"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", o.Last.Format(time.RFC3339), o.Times, o.Kind, printable.Line(host),
			strings.TrimSpace(o.App+" "+o.Service), shorten(o.Name), o.Server, o.Bytes, o.Verdict, o.Rule)
	})
}

func printHours(out io.Writer, in io.Reader) error {
	return printLines(out, in, "HOUR\tKIND\tMESSENGER\tVERDICT\tTIMES\tPACKETS\tBYTES", func(w io.Writer, h *server.HourLine) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", h.Hour.Format(time.RFC3339), h.Kind, h.App, h.Verdict, h.Times, h.Packets, h.Bytes)
	})
}

// printLines prints JSON lines as a table, as they come.
func printLines[T any](out io.Writer, in io.Reader, header string, row func(io.Writer, *T)) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var line T
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return err
		}
		if n == 0 {
			fmt.Fprintln(w, header)
		}
		row(w, &line)
		if n%200 == 199 {
			w.Flush()
		}
	}
	if n == 0 && lines.Err() == nil {
		fmt.Fprintln(w, header)
	}
	return errors.Join(lines.Err(), w.Flush())
}
