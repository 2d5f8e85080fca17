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
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/clients"
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
	URL     string   `name:"url" placeholder:"URL" help:"Address (https://…) where a device management serves the file of clients-profile; clients-declaration points there."`
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
	switch {
	case errors.Is(err, export.ErrWatched):
		return hint.New(err, "--enforce exports what the policy would stop")
	case errors.Is(err, clients.ErrNoURL):
		return hint.New(err, "give it with --url")
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
	subject, people, err := c.subject()
	if err != nil {
		return nil, err
	}
	notes, err := c.known(set.Policy, people)
	if err != nil {
		return nil, err
	}
	options := export.Options{Subject: subject, Now: time.Now(), Enforce: c.Enforce, ProfileURL: c.URL}
	if options.Found, err = readAllFound(c.Found); err != nil {
		return nil, err
	}
	plan := export.Make(set.Policy, set.Catalog, options)
	plan.Notes = append(notes, plan.Notes...)
	return plan, nil
}

// subject is whom the plan is for, with what the people directory of the configuration knows: whose machine it is, and the person's groups. people is
// nil where no configuration is named, or it has no directory.
func (c *exportCmd) subject() (export.Subject, *identity.People, error) {
	subject := export.Subject{Host: c.Host, Person: c.Person}
	if c.Config == "" || c.Host+c.Person == "" {
		return subject, nil, nil
	}
	config, err := command.LoadConfig(c.Config)
	if err != nil || config.People.CSV == "" {
		return subject, nil, err
	}
	people, err := identity.LoadPeople(config.Path(config.People.CSV))
	if err != nil {
		return subject, nil, err
	}
	if subject.Person == "" {
		subject.Person = people.Host(c.Host, "", time.Now()).Person
	}
	subject.Groups, subject.Asked = identity.GroupsOf(people, subject.Person), true
	return subject, people, nil
}

// known refuses a machine or a person that neither the people directory knows nor a group of the policy names, where groups name others: a slip of the
// pen would export what holds for nobody in particular. Where groups name none, it is said that the name changes nothing.
func (c *exportCmd) known(p *policy.Policy, people *identity.People) (notes []string, err error) {
	inTable := map[string]bool{}
	if people != nil {
		_, inTable["--person"] = people.Groups(c.Person)
		inTable["--host"] = people.Host(c.Host, "", time.Now()).Person != ""
	}
	for _, q := range []struct {
		flag, name, what string
		named            policy.Naming
	}{{"--host", c.Host, "machine", p.NamesHost(c.Host)}, {"--person", c.Person, "person", p.NamesPerson(c.Person)}} {
		switch {
		case q.name == "" || q.named.Matches || inTable[q.flag]:
		case people != nil && q.flag == "--person" && !q.named.Any:
			return nil, hint.New(fmt.Errorf("the people directory knows no person %q, and no group of the policy names one", q.name), "what holds for a person in no group is exported without --person")
		case q.named.Any:
			return nil, hint.New(fmt.Errorf("no group of the policy names the %s %q", q.what, q.name), fmt.Sprintf("%s (what holds for a %s in no group is exported without %s)", q.named.Hint, q.what, q.flag))
		default:
			notes = append(notes, fmt.Sprintf("no group of the policy names any %s: %s changes nothing", q.what, q.flag))
		}
	}
	return notes, nil
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

// readAllFound reads the files of --found.
func readAllFound(names []string) ([]export.Found, error) {
	var out []export.Found
	for _, name := range names {
		found, err := readFound(name)
		if err != nil {
			return nil, hint.New(err, "--found takes what chaperone scan --json prints")
		}
		out = append(out, found...)
	}
	return out, nil
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
