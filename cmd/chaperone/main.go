//go:build linux

// Command chaperone keeps unapproved messengers out and the approved ones clean and on record.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/chaperone-im/chaperone/cmd/chaperone/agentcmd"
	"github.com/chaperone-im/chaperone/cmd/chaperone/catalogs"
	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/cmd/chaperone/policies"
	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// cli is the command line: one field per command, each in a file of its own.
type cli struct {
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Quickstart quickstartCmd `cmd:"" help:"Write a configuration, a policy, keys and the first accounts."`
	Serve      serveCmd      `cmd:"" help:"Run everything that a configuration names."`
	Doctor     doctorCmd     `cmd:"" help:"Check this machine and a configuration, and say what to do about each finding."`
	Config     configCmd     `cmd:"" help:"Check and describe configurations."`
	Account    accountCmd    `cmd:"" help:"Manage who signs in."`
	Search     searchCmd     `cmd:"" help:"Search the record."`
	Person     personCmd     `cmd:"" help:"Show one person's time line over all planes."`
	Disclose   discloseCmd   `cmd:"" help:"Tell whom pseudonyms stand for; each name is on record."`
	Hold       holdCmd       `cmd:"" help:"Place, release and list legal holds."`
	Erase      eraseCmd      `cmd:"" help:"Ask for the destruction of one record's content; the second person who asks carries it out."`
	Dispose    disposeCmd    `cmd:"" help:"Destroy the content of records whose retention has run out; changes nothing unless told to."`
	Demo       demoCmd       `cmd:"" help:"Play the whole story on this machine, with real peers."`
	Keys       keysCmd       `cmd:"" help:"Try the recovery shares of the compliance key, or get it back from them."`
	Rebuild    rebuildCmd    `cmd:"" help:"Derive search and pages anew from the journal."`
	Verify     verifyCmd     `cmd:"" help:"Check a data directory against a checkpoint that was kept outside."`

	Catalog    catalogs.Command `cmd:"" help:"Show and check what is known of each messenger."`
	Policy     policies.Command `cmd:"" help:"Check, test, explain and try a policy."`
	Inspect    inspectCmd       `cmd:"" help:"Name the messengers in captures, or on an interface, and say what policy makes of them."`
	Scan       scanCmd          `cmd:"" help:"Find messengers in files and folders by what files are; changes nothing unless told to."`
	Agent      agentcmd.Command `cmd:"" help:"Keep what policy forbids from being started on this machine."`
	Fleet      fleetcmd.Command `cmd:"" help:"Keep the agents of many machines: enrolment, policy, exceptions, removal everywhere."`
	Quarantine quarantineCmd    `cmd:"" help:"List and bring back files that scan took away."`
	Survey     surveyCmd        `cmd:"" help:"Listen and tell who uses which messenger; changes nothing."`

	Observations observationsCmd `cmd:"" help:"List what was seen on the network and allowed, or is unknown; it is kept for some days and is no record."`

	Completion completionCmd `cmd:"" help:"Print what a shell needs to complete these commands."`
	Reference  referenceCmd  `cmd:"" hidden:"" help:"Write the reference pages from the code."`
}

func main() {
	sandbox.Child(os.Args, sandboxParsers())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what does not listen to the first, as the opening of a pipe
	os.Exit(run(os.Args[1:], &command.Env{Ctx: ctx, In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr, Version: version}))
}

func run(args []string, e *command.Env) int { return command.Run(&cli{}, args, e) }
