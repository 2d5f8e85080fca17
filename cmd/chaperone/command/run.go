package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// Description says in one sentence what the program is for.
const Description = "Keeps unapproved messengers out, and the approved ones clean and on record."

// Run parses a command line by the grammar that cli, a pointer to a struct of commands, declares, and runs it with e. It returns the exit
// status: 0 fine, 1 findings that policy forbids, 2 usage or failure.
func Run(cli any, args []string, e *Env) int {
	exit := -1
	parser, err := kong.New(cli, kong.Name("chaperone"), kong.UsageOnError(), kong.Writers(e.Out, e.ErrOut),
		kong.Description(Description),
		kong.Exit(func(code int) { exit = code }))
	if err != nil {
		return Report(e, err)
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		return Report(e, usage(err, args))
	}
	if err := refuseNegative(k); err != nil {
		return Report(e, err)
	}
	e.session = newSession()
	err = k.Run(e)
	if wrong := e.session.close(); wrong != nil && errors.Is(err, ErrFindings) {
		err = wrong
	} else if wrong != nil {
		err = errors.Join(err, wrong)
	}
	e.session = nil
	return Report(e, err)
}

// Report says what went wrong, with its hint, and returns the exit status.
func Report(e *Env, err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, ErrFindings) {
		return 1
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = printable.Line(line)
	}
	fmt.Fprintln(e.ErrOut, "chaperone: error:", strings.Join(lines, "\n"))
	text := hint.Of(err)
	if text == "" {
		text = advice(err)
	}
	if text != "" {
		fmt.Fprintln(e.ErrOut, "hint:", printable.Line(text))
	}
	return 2
}

// missing says what may be wrong with a path at which there is nothing.
func missing(path string) string {
	return "there is no " + path + ": is the path right? A relative one begins in the folder in which the command is run"
}
