//go:build linux

package main

import (
	"errors"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/inspection"
)

// surveyCmd listens to an interface and tells who uses which messenger, and what enforcing would stop. It changes nothing.
type surveyCmd struct {
	command.ConfigFlag
	JSON      bool          `name:"json" help:"One JSON object per line."`
	Policy    string        `name:"policy" type:"path" placeholder:"FILE" help:"Policy to decide by; else that of the configuration, else the embedded quickstart policy."`
	For       time.Duration `name:"for" default:"10m" help:"How long to listen."`
	Interface string        `arg:"" help:"Interface to listen to."`
}

// Run surveys. What it finds is its purpose, not a failure: its status is 0.
func (c *surveyCmd) Run(e *command.Env) error {
	set, err := c.Rules(e, c.Policy)
	if err != nil {
		return err
	}
	out := inspection.NewTable(e.Out, set.Policy, false)
	if c.JSON {
		out = inspection.NewLines(e.Out, true)
	}
	r := &inspection.Run{Catalog: set.Catalog, Decider: set.Policy, Out: out}
	err = r.Live(e.Ctx, c.Interface, c.For)
	return errors.Join(err, out.Close())
}
