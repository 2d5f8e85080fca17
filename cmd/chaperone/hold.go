//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/server"
)

// holdCmd places and releases legal holds.
type holdCmd struct {
	Place   holdPlaceCmd   `cmd:"" help:"Hold a person, room or host for a matter: nothing of theirs is disposed of, erased or removed."`
	Release holdReleaseCmd `cmd:"" help:"Release all holds of a matter."`
	List    holdListCmd    `cmd:"" help:"List the holds in force, one JSON object a line. The look is on record, with its purpose."`
}

type holdPlaceCmd struct {
	command.DataFlags
	command.SignFlags
	JSON   bool     `name:"json" help:"One JSON object per line, for each that is held."`
	DryRun bool     `name:"dry-run" help:"Only say what it would cover; nothing is held."`
	Person []string `name:"person" help:"Person to hold."`
	Room   []string `name:"room" help:"Room to hold."`
	Host   []string `name:"host" help:"Host to hold."`
	Reason string   `name:"reason" required:"" help:"Why."`
	Matter string   `arg:"" help:"Name of the matter."`
}

// Run places holds, and says what each covers.
func (c *holdPlaceCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	args := server.HoldArgs{Sign: s, Matter: c.Matter, Reason: c.Reason, DryRun: c.DryRun}
	for _, of := range []struct {
		kind  retention.Kind
		names []string
	}{{retention.Person, c.Person}, {retention.Room, c.Room}, {retention.Host, c.Host}} {
		for _, n := range of.names {
			args.Scopes = append(args.Scopes, retention.Scope{Kind: of.kind, Name: n})
		}
	}
	if len(args.Scopes) == 0 {
		return hint.New(errors.New("nothing is named that is to be held"), "--person NAME, --room NAME or --host NAME; each may be given several times")
	}
	var out bytes.Buffer
	if err := command.Operate(e, &c.DataFlags, "hold.place", args, nil, &out); err != nil {
		return holdHint(err)
	}
	if c.JSON {
		_, err = e.Out.Write(out.Bytes())
		return err
	}
	return printPlaced(e.Out, e.ErrOut, &out)
}

// printPlaced says what each hold covers, and warns of one that covers nothing.
func printPlaced(out, warnings io.Writer, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p server.HoldPlaced
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return err
		}
		verb, what := "holds", fmt.Sprintf("%s %s", p.Scope.Kind, printable.Line(p.Scope.Name))
		if !p.Placed {
			verb = "would hold"
		}
		if _, err := fmt.Fprintf(out, "%s %s %s: %s\n", printable.Line(p.Matter), verb, what, covers(p.Coverage)); err != nil {
			return err
		}
		if p.Total == 0 {
			fmt.Fprintf(warnings, "chaperone: warning: nothing on record has the name of %s: a name typed wrongly holds nothing\n", what)
		}
	}
	return lines.Err()
}

// covers writes what a hold covers of what is on record now.
func covers(c retention.Coverage) string {
	if c.Total == 0 {
		return "0 records now"
	}
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(c.Records)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", c.Records[k], k))
	}
	s := fmt.Sprintf("%d records now (%s), %d files, from %s to %s", c.Total, strings.Join(kinds, ", "), c.Files, c.First.UTC().Format(time.RFC3339), c.Last.UTC().Format(time.RFC3339))
	if c.Partly {
		s = "at least " + s
	}
	return s
}

// holdHint says what helps when somebody may not hold.
func holdHint(err error) error {
	if errors.Is(err, control.ErrForbidden) {
		return hint.New(err, "--account NAME of counsel; reviewers and administrators place, list and release no holds")
	}
	return command.ReadingHint(err)
}

type holdReleaseCmd struct {
	command.DataFlags
	command.SignFlags
	Reason string `name:"reason" required:"" help:"Why."`
	Matter string `arg:"" help:"Name of the matter."`
}

// Run releases holds.
func (c *holdReleaseCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	return holdHint(command.Operate(e, &c.DataFlags, "hold.release", server.HoldArgs{Sign: s, Matter: c.Matter, Reason: c.Reason}, nil, e.Out))
}

type holdListCmd struct {
	command.DataFlags
	command.SignFlags
}

// Run lists holds.
func (c *holdListCmd) Run(e *command.Env) error {
	s, err := c.Sign(e)
	if err != nil {
		return err
	}
	return holdHint(command.Operate(e, &c.DataFlags, "hold.list", server.HoldArgs{Sign: s}, nil, e.Out))
}
