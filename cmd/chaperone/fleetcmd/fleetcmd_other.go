//go:build !linux

// Package fleetcmd holds the part of `chaperone fleet` with which a machine joins a fleet and works for it.
package fleetcmd

// Command is `chaperone fleet` on a system that serves no fleet.
type Command struct {
	Enroll enrollCmd `cmd:"" help:"Join a fleet with this machine, and wait for approval."`
	Once   onceCmd   `cmd:"" help:"Do an agent's work once and end: get the policy, scan, carry out orders, report. For log-on scripts and managers of machines."`
}
