//go:build !linux

// Command chaperone on a system that is no gateway: it scans, takes away, brings back, and works for a fleet.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// cli is the command line of this system: what is not here runs on Linux.
type cli struct {
	Version    versionCmd       `cmd:"" help:"Print the version."`
	Scan       scanCmd          `cmd:"" help:"Find messengers in files and folders by what files are; changes nothing unless told to."`
	Fleet      fleetcmd.Command `cmd:"" help:"Work for a fleet with this machine: enrolment, and an agent's work once."`
	Quarantine quarantineCmd    `cmd:"" help:"List and bring back files that scan took away."`
}

func main() {
	sandbox.Child(os.Args, sandboxParsers())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(os.Args[1:], &command.Env{Ctx: ctx, In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr, Version: version}))
}

// onlyLinux are the commands of a gateway and of its administrators.
func onlyLinux() []string {
	return []string{"quickstart", "serve", "doctor", "config", "account", "search", "person", "disclose", "hold", "erase", "dispose", "demo", "keys", "rebuild",
		"verify", "catalog", "policy", "inspect", "agent", "survey", "observations", "completion"}
}

func run(args []string, e *command.Env) int {
	if len(args) > 0 && slices.Contains(onlyLinux(), args[0]) {
		return command.Report(e, hint.New(errors.New("chaperone "+args[0]+" runs only on Linux"), "here: chaperone scan, quarantine and fleet"))
	}
	return command.Run(&cli{}, args, e)
}
