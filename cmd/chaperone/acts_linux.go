package main

import "github.com/chaperone-im/chaperone/cmd/chaperone/command"

// acts returns what quarantine works with: with a data directory set up, acts are recorded and holds asked.
func acts(e *command.Env, d *command.DataFlags) quarantineOptions {
	if d.Data == "" && d.Config == "" {
		return quarantineOptions{}
	}
	r := d.Remote(e)
	return quarantineOptions{recorder: r, holds: r}
}
