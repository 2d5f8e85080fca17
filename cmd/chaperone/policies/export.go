package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
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
	JSON    bool     `name:"json" help:"One JSON object per line: of each format, or with --output of each note and of what was written."`
	Format  string   `name:"format" placeholder:"NAME" help:"Enforcer to write for; without it they are listed."`
	Output  string   `name:"output" short:"o" type:"path" placeholder:"FILE" help:"File to write; standard output without it."`
	Host    string   `name:"host" placeholder:"NAME" help:"Export what holds for this machine."`
	Person  string   `name:"person" placeholder:"NAME" help:"Export what holds for this person."`
	Found   []string `name:"found" type:"path" placeholder:"FILE" help:"Findings of chaperone scan --json: what was found is also known by its content and its signer."`
	Enforce bool     `name:"enforce" help:"Export as if the policy enforced what it only watches."`
	File    string   `arg:"" optional:"" help:"Policy file; else that of the configuration, else the embedded quickstart policy." type:"path"`
}

// Lines of --json. Their names are API.
type (
	formatLine struct {
		Type  string `json:"type"` // format
		Name  string `json:"name"`
		About string `json:"about"`
	}
	noteLine struct {
		Type string `json:"type"` // note
		Text string `json:"text"`
	}
	exportLine struct {
		Type   string `json:"type"` // export
		Format string `json:"format"`
		Path   string `json:"path"`
		Policy string `json:"policy"` // version
	}
)

// Run writes the rules of another enforcer, and says on standard error what of the policy they do not hold.
func (c *exportCmd) Run(e *command.Env) error {
	if c.Format == "" {
		return c.list(e)
	}
	format, ok := formats.ByName(c.Format)
	if !ok {
		return hint.New(fmt.Errorf("no format is called %q", c.Format), "chaperone policy export lists them")
	}
	if c.JSON && c.Output == "" {
		return hint.New(errors.New("--json says what was written, and the file would stand between"), "give it a file with --output")
	}
	plan, err := c.plan(e)
	if err != nil {
		return err
	}
	var out strings.Builder
	left, err := format.Write(&out, plan)
	if errors.Is(err, export.ErrWatched) {
		return hint.New(err, "--enforce exports what the policy would stop")
	}
	if err != nil {
		return err
	}
	if c.Output != "" {
		if err := os.WriteFile(c.Output, []byte(out.String()), 0o644); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return hint.New(err, "make the folder first")
			}
			return err
		}
	}
	return c.say(e, &format, plan, slices.Concat(plan.Notes, left, format.Elsewhere(plan)), out.String())
}

// list says which formats there are.
func (c *exportCmd) list(e *command.Env) error {
	lines := json.NewEncoder(e.Out)
	for _, f := range formats.All() {
		if !c.JSON {
			fmt.Fprintf(e.Out, "%-16s %s\n", f.Name, f.About)
		} else if err := lines.Encode(formatLine{"format", f.Name, f.About}); err != nil {
			return err
		}
	}
	return nil
}

// plan is what is exported.
func (c *exportCmd) plan(e *command.Env) (*export.Plan, error) {
	set, err := c.Rules(e, c.File)
	if err != nil {
		return nil, err
	}
	options := export.Options{Subject: export.Subject{Host: c.Host, Person: c.Person}, Now: time.Now(), Enforce: c.Enforce}
	for _, name := range c.Found {
		found, err := readFound(name)
		if err != nil {
			return nil, hint.New(err, "--found takes what chaperone scan --json prints")
		}
		options.Found = append(options.Found, found...)
	}
	return export.Make(set.Policy, set.Catalog, options), nil
}

// say prints what was left out, and the file where it has no other place.
func (c *exportCmd) say(e *command.Env, format *export.Format, plan *export.Plan, notes []string, text string) error {
	if c.JSON {
		lines := json.NewEncoder(e.Out)
		for _, n := range notes {
			if err := lines.Encode(noteLine{"note", n}); err != nil {
				return err
			}
		}
		return lines.Encode(exportLine{"export", format.Name, c.Output, plan.Policy})
	}
	for _, n := range notes {
		fmt.Fprintln(e.ErrOut, "note:", printable.Line(n))
	}
	if c.Output == "" {
		_, err := fmt.Fprint(e.Out, text)
		return err
	}
	_, err := fmt.Fprintf(e.ErrOut, "%s: %s\n", printable.Line(c.Output), format.About)
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
