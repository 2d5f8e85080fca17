//go:build linux

package main

import (
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/server"
)

// accountCmd manages who signs in.
type accountCmd struct {
	Create accountCreateCmd `cmd:"" help:"Make an account."`
	Link   accountLinkCmd   `cmd:"" help:"Make a one-time sign-in link, good for an hour."`
	List   accountListCmd   `cmd:"" help:"List accounts, one JSON object a line."`
}

type accountCreateCmd struct {
	command.DataFlags
	Role []string `name:"role" required:"" enum:"administrator,reviewer,counsel" help:"administrator, reviewer or counsel. Who administers does not read."`
	UID  []uint32 `name:"uid" help:"Users of this machine that are this account."`
	Name string   `arg:"" help:"Name."`
}

// Run makes an account.
func (c *accountCreateCmd) Run(e *command.Env) error {
	args := server.AccountArgs{Name: c.Name, UIDs: c.UID}
	for _, r := range c.Role {
		args.Roles = append(args.Roles, control.Role(r))
	}
	return command.Operate(e, &c.DataFlags, "account.create", args, nil, e.Out)
}

type accountLinkCmd struct {
	command.DataFlags
	Name string `arg:"" help:"Name."`
}

// Run prints the link.
func (c *accountLinkCmd) Run(e *command.Env) error {
	var token strings.Builder
	if err := command.Operate(e, &c.DataFlags, "account.link", server.AccountArgs{Name: c.Name}, nil, &token); err != nil {
		return err
	}
	address := "CONSOLE"
	if cfg, err := c.Load(); err == nil && cfg.Console.Listen != "" {
		address = cfg.Console.Listen
	}
	_, err := fmt.Fprintf(e.Out, "https://%s/link/%s", address, token.String())
	return err
}

type accountListCmd struct{ command.DataFlags }

// Run lists.
func (c *accountListCmd) Run(e *command.Env) error {
	return command.Operate(e, &c.DataFlags, "account.list", struct{}{}, nil, e.Out)
}
