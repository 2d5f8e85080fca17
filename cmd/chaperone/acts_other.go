//go:build !linux

package main

import "github.com/chaperone-im/chaperone/cmd/chaperone/command"

// acts returns what quarantine works with: on this system acts are recorded, and holds asked, by machines that work for a fleet.
func acts(*command.Env, *command.DataFlags) quarantineOptions { return quarantineOptions{} }
