//go:build linux

package main

import (
	"errors"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/printable"
)

type verifyCmd struct {
	JSON       bool   `help:"Print one JSON object."`
	Checkpoint string `help:"Checkpoint, bundle or folder of them that was kept outside." placeholder:"F"`
	Key        string `help:"Verifier key of the ledger as known outside." placeholder:"VKEY"`
	Config     string `type:"path" help:"Configuration, which says where the data and its keys are." placeholder:"FILE"`
	Path       string `arg:"" optional:"" help:"Data directory to verify; by default that of --config."`
}

// errNothing says that neither a data directory nor a configuration was named.
var errNothing = errors.New("verify: nothing to verify was named")

// Run verifies a data directory: PROVEN since T, or CONSISTENT, NOT PROVEN (exit 0), or BROKEN (exit 1).
func (c *verifyCmd) Run(e *command.Env) error {
	o := verify.Options{Checkpoint: c.Checkpoint, Key: c.Key}
	if c.Config != "" {
		cfg, err := config.Load(c.Config)
		if err != nil {
			return err
		}
		o.Keys = cfg.KeysDir()
		if c.Path == "" {
			c.Path = cfg.Data()
		}
	}
	if c.Path == "" {
		return hint.New(errNothing, "give the data directory, or --config FILE")
	}
	result, err := verify.Verify(e.Ctx, c.Path, o)
	if errors.Is(err, verify.ErrNotAStore) {
		return hint.New(err, "give the data directory: the one that holds journal/, ledger/ and keys/")
	}
	if err != nil {
		return err
	}
	out, write := printable.Writer(e.Out), result.WriteText
	if c.JSON {
		out, write = e.Out, result.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if result.Verdict == verify.Broken {
		return command.ErrFindings
	}
	return nil
}
