//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/server"
)

// configCmd checks and describes configurations.
type configCmd struct {
	Test     configTestCmd     `cmd:"" help:"Check a configuration and all it refers to, without starting anything."`
	Describe configDescribeCmd `cmd:"" help:"Print the reference of every key."`
}

type configTestCmd struct {
	Config string `name:"config" type:"path" default:"chaperone.yaml" help:"Configuration."`
}

// Run checks.
func (c *configTestCmd) Run(e *command.Env) error {
	cfg, err := command.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	if err := server.Check(cfg); err != nil {
		return err
	}
	if strings.HasPrefix(cfg.Keys.Unlock, "credential:") && os.Getenv("CREDENTIALS_DIRECTORY") == "" {
		fmt.Fprintln(e.ErrOut, "note: keys.unlock: systemd gives the credential to the service alone: it is not tried here")
	}
	for _, spec := range cfg.Ledger.Checkpoints {
		if ledger.Local(spec) {
			fmt.Fprintf(e.ErrOut, "note: ledger.checkpoints: %s is on this machine: it counts as no recipient outside, and proves nothing against who administers this machine\n", spec)
		}
	}
	_, err = fmt.Fprintln(e.Out, c.Config, "is fine")
	return err
}

type configDescribeCmd struct{}

// Run prints.
func (configDescribeCmd) Run(e *command.Env) error { return config.Describe(e.Out) }
