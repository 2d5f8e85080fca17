package main

import (
	"fmt"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
)

// version is stamped by the linker.
var version = "dev"

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(e *command.Env) error {
	_, err := fmt.Fprintln(e.Out, "chaperone", version)
	return err
}
