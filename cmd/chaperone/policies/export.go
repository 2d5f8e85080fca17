package policies

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/formats"
	"github.com/chaperone-im/chaperone/internal/printable"
)

type exportCmd struct {
	command.ConfigFlag
	Format  string   `name:"format" placeholder:"NAME" help:"Enforcer to write for; without it they are listed."`
	Output  string   `name:"output" short:"o" type:"path" placeholder:"FILE" help:"File to write; standard output without it."`
	Host    string   `name:"host" placeholder:"NAME" help:"Export what holds for this machine."`
	Person  string   `name:"person" placeholder:"NAME" help:"Export what holds for this person."`
	Found   []string `name:"found" type:"path" placeholder:"FILE" help:"Findings of chaperone scan --json: what was found is also known by its content and its signer."`
	Enforce bool     `name:"enforce" help:"Export as if the policy enforced what it only watches."`
	File    string   `arg:"" optional:"" help:"Policy file; else that of the configuration, else the embedded quickstart policy." type:"path"`
}

// Run writes the rules of another enforcer, and says on standard error what of the policy they do not hold.
func (c *exportCmd) Run(e *command.Env) error {
	if c.Format == "" {
		for _, f := range formats.All() {
			fmt.Fprintf(e.Out, "%-16s %s\n", f.Name, f.About)
		}
		return nil
	}
	format, ok := formats.ByName(c.Format)
	if !ok {
		return hint.New(fmt.Errorf("no format is called %q", c.Format), "chaperone policy export lists them")
	}
	set, err := c.Rules(e, c.File)
	if err != nil {
		return err
	}
	options := export.Options{Subject: export.Subject{Host: c.Host, Person: c.Person}, Now: time.Now(), Enforce: c.Enforce}
	for _, name := range c.Found {
		found, err := readFound(name)
		if err != nil {
			return hint.New(err, "--found takes what chaperone scan --json prints")
		}
		options.Found = append(options.Found, found...)
	}
	plan := export.Make(set.Policy, set.Catalog, options)
	var out strings.Builder
	left, err := format.Write(&out, plan)
	if errors.Is(err, export.ErrWatched) {
		return hint.New(err, "--enforce exports what the policy would stop")
	}
	if err != nil {
		return err
	}
	for _, n := range append(plan.Notes, left...) {
		fmt.Fprintln(e.ErrOut, "note:", printable.Line(n))
	}
	if c.Output == "" {
		_, err = fmt.Fprint(e.Out, out.String())
		return err
	}
	if err := os.WriteFile(c.Output, []byte(out.String()), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.ErrOut, "%s: %s\n", printable.Line(c.Output), format.About)
	return err
}

func readFound(name string) ([]export.Found, error) {
	f, err := outside.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := export.ReadFound(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}
