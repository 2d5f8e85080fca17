//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/server/doctor"
)

// doctorCmd checks a machine and a configuration.
type doctorCmd struct {
	Config string `name:"config" type:"path" default:"chaperone.yaml" help:"Configuration."`
	JSON   bool   `name:"json" help:"One JSON object per line."`
}

// Run examines: exit status 1 when something fails.
func (c *doctorCmd) Run(e *command.Env) error {
	var found []doctor.Finding
	if cfg, err := config.Load(c.Config); err != nil {
		found = []doctor.Finding{{Check: "configuration", State: doctor.Fail, What: err.Error(), Why: "serve does not start with it", Do: "correct it, or make one: chaperone quickstart DIR"}}
	} else {
		found = doctor.Examine(e.Ctx, cfg, doctor.Options{Sandbox: sandboxState})
	}
	if err := c.print(e, found); err != nil {
		return err
	}
	if doctor.Worst(found) == doctor.Fail {
		return command.ErrFindings
	}
	return nil
}

func (c *doctorCmd) print(e *command.Env, found []doctor.Finding) error {
	if c.JSON {
		out := json.NewEncoder(e.Out)
		for _, f := range found {
			if err := out.Encode(f); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range found {
		fmt.Fprintf(e.Out, "%-5s%s: %s\n", f.State, f.Check, printable.Line(f.What))
		if f.State != doctor.OK {
			fmt.Fprintf(e.Out, "     why: %s\n     do:  %s\n", printable.Line(f.Why), printable.Line(f.Do))
		}
	}
	return nil
}

// sandboxState starts a child and says what confines it less than it should.
func sandboxState(ctx context.Context) (string, error) {
	pool := sandbox.New(sandbox.Options{Workers: 1})
	defer pool.Close()
	s, err := pool.Status(ctx)
	return s.Degraded(), err
}
