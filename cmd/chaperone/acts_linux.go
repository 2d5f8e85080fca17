package main

import (
	"errors"
	"path/filepath"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
)

// acts returns what quarantine works with: with a data directory set up, acts are recorded and holds asked.
func acts(e *command.Env, d *command.DataFlags) quarantineOptions {
	if d.Data == "" && d.Config == "" {
		return quarantineOptions{}
	}
	r := d.Remote(e)
	return quarantineOptions{recorder: r, holds: r}
}

// settle makes sure that what is done goes on record: where no data directory is named it is ./data, when that is one.
func settle(d *command.DataFlags) error {
	if d.Data != "" || d.Config != "" {
		return nil
	}
	here, err := filepath.Abs("data")
	if err != nil {
		return err
	}
	if !command.FileExists(filepath.Join(here, "keys")) {
		return hint.New(errors.New("nothing is taken away, brought back or deleted without a record, and no data directory is named for it"),
			"--data DIR or --config FILE names it; chaperone quickstart firm makes one at firm/data")
	}
	d.Data = here
	return nil
}
