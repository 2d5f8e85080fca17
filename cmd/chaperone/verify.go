package main

import (
	"errors"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/printable"
)

type verifyCmd struct {
	JSON       bool   `help:"Print one JSON object."`
	Checkpoint string `help:"Checkpoint, bundle or folder of them that was kept outside." placeholder:"F"`
	Key        string `help:"Verifier key of the ledger as known outside." placeholder:"VKEY"`
	Path       string `arg:"" help:"Data directory to verify."`
}

// Run verifies a data directory: PROVEN since T, or CONSISTENT, NOT PROVEN (exit 0), or BROKEN (exit 1).
func (c *verifyCmd) Run(e *command.Env) error {
	result, err := verify.Verify(e.Ctx, c.Path, verify.Options{Checkpoint: c.Checkpoint, Key: c.Key})
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
