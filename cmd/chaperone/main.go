// Command chaperone keeps unapproved messengers out and the approved ones clean and on record.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// version is stamped by the linker.
var version = "dev"

const description = "Keeps unapproved messengers out, and the approved ones clean and on record."

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

	Catalog    catalogCmd    `cmd:"" help:"Show and check what is known of each messenger."`
	Policy     policyCmd     `cmd:"" help:"Check, test, explain and try a policy."`
	Inspect    inspectCmd    `cmd:"" help:"Name the messengers in captures, or on an interface, and say what policy makes of them."`
	Scan       scanCmd       `cmd:"" help:"Find messengers in files and folders by what files are; changes nothing unless told to."`
	Quarantine quarantineCmd `cmd:"" help:"List and bring back files that scan took away."`
	Survey     surveyCmd     `cmd:"" help:"Listen and tell who uses which messenger; changes nothing."`

	Observations observationsCmd `cmd:"" help:"List what was seen on the network and allowed, or is unknown; it is kept for some days and is no record."`

	Completion completionCmd `cmd:"" help:"Print what a shell needs to complete these commands."`
	Reference  referenceCmd  `cmd:"" hidden:"" help:"Write the reference pages from the code."`
}

// env is what a command runs with. Tests give it their own streams.
type env struct {
	ctx    context.Context
	in     io.Reader
	out    io.Writer
	errOut io.Writer
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.out, "chaperone", version)
	return err
}

// errFindings makes the exit status 1: findings that policy forbids, or a verification that failed.
var errFindings = errors.New("findings")

func main() {
	sandbox.Child(os.Args, sandboxParsers())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what does not listen to the first, as the opening of a pipe
	os.Exit(run(os.Args[1:], &env{ctx, os.Stdin, os.Stdout, os.Stderr}))
}

// run parses and runs one command line: 0 fine, 1 findings that policy forbids, 2 usage or failure.
func run(args []string, e *env) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("chaperone"), kong.UsageOnError(), kong.Writers(e.out, e.errOut),
		kong.Description(description),
		kong.Exit(func(code int) { exit = code }))
	if err != nil {
		return report(e, err)
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		return report(e, hint.New(err, helpFor(err)))
	}
	return report(e, k.Run(e))
}

// helpFor says which help lists what may be written: that of the command that was begun.
func helpFor(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if n := parse.Context.Selected(); n != nil {
			return "chaperone " + n.Path() + " --help lists its flags"
		}
	}
	return "chaperone --help lists the commands"
}

func report(e *env, err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, errFindings) {
		return 1
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = printable.Line(line)
	}
	fmt.Fprintln(e.errOut, "chaperone: error:", strings.Join(lines, "\n"))
	if text := hint.Of(err); text != "" {
		fmt.Fprintln(e.errOut, "hint:", printable.Line(text))
	}
	return 2
}
