//go:build !linux

package main

import "github.com/chaperone-im/chaperone/cmd/chaperone/command"

// acts returns what quarantine works with: on this system acts are recorded, and holds asked, by machines that work for a fleet.
func acts(*command.Env, *command.DataFlags) quarantineOptions { return quarantineOptions{} }

// settle has nothing to do: there are no records on this system.
func settle(*command.DataFlags) error { return nil }
