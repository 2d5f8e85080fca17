//go:build linux

// Package fleetcmd holds `chaperone fleet`: what an administrator does with the machines of a fleet, on the server, and how a machine joins
// one and works for it.
package fleetcmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// Command is `chaperone fleet`.
type Command struct {
	EnrollCode enrollCodeCmd `cmd:"" name:"enroll-code" help:"Make a code with which machines ask to join. It is shown once."`
	Codes      codesCmd      `cmd:"" help:"List the enrolment codes in force, or end one."`
	Pending    pendingCmd    `cmd:"" help:"List the machines that wait for approval."`
	Approve    approveCmd    `cmd:"" help:"Let machines in that wait."`
	Refuse     refuseCmd     `cmd:"" help:"Refuse machines that wait, or put machines out of the fleet."`
	Hosts      hostsCmd      `cmd:"" help:"List the machines of the fleet: last seen, policy in force, what runs where."`
	Approvals  approvalsCmd  `cmd:"" help:"List exceptions in force and requests for them."`
	Allow      allowCmd      `cmd:"" help:"Grant an exception to a host, person or group, until it ends."`
	Withdraw   withdrawCmd   `cmd:"" help:"End an exception, or refuse a request."`
	Learned    learnedCmd    `cmd:"" help:"List what machines in mode learn would stop in lockdown, as proposals by publisher and package; accept one, or dismiss it."`
	Campaign   campaignCmd   `cmd:"" help:"Remove a messenger from all machines that have it, step by step."`
	Release    releaseCmd    `cmd:"" help:"Sign releases of this program, and offer them to machines that pin the key."`

	Enroll enrollCmd `cmd:"" help:"Join a fleet with this machine, and wait for approval."`
	Agent  agentCmd  `cmd:"" help:"Be the fleet's client beside chaperone agent: get the policy, hand up what it records, scan, carry out orders."`
	Once   onceCmd   `cmd:"" help:"Do an agent's work once and end: get the policy, scan, carry out orders, report. For log-on scripts and managers of machines."`

	InstallUpdate installUpdateCmd `cmd:"" hidden:"" help:"Install the release that the fleet's client fetched; the client starts it."`
}

// operate runs an operation of the fleet in the process that serves.
func operate(e *command.Env, d *command.DataFlags, name string, args any, out io.Writer) error {
	return operateWith(e, d, name, args, nil, out)
}

// operateWith is operate, with what the operation reads.
func operateWith(e *command.Env, d *command.DataFlags, name string, args any, in io.Reader, out io.Writer) error {
	dir, err := d.Dir()
	if err != nil {
		return err
	}
	err = control.Do(e.Ctx, dir, name, args, in, out)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return hint.New(err, "chaperone serve is the fleet's server: start it with fleet.listen in its configuration, then this command")
	case err != nil && strings.Contains(err.Error(), "is not known here"):
		return hint.New(errors.New("this server serves no fleet"), "fleet: {listen: \"0.0.0.0:8444\"} in its configuration, and a restart")
	case errors.Is(err, control.ErrForbidden):
		return hint.New(err, "the fleet is an administrator's: root of this machine, or an account with that role")
	case errors.Is(err, fleet.ErrManyHosts), err != nil && strings.Contains(err.Error(), fleet.ErrManyHosts.Error()):
		return hint.New(err, "chaperone fleet hosts --json lists ids")
	}
	return err
}

// lines decodes what an operation answers, a line at a time.
func lines[T any](in io.Reader, take func(raw []byte, x T) error) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var x T
		if err := json.Unmarshal(s.Bytes(), &x); err != nil {
			return err
		}
		if err := take(s.Bytes(), x); err != nil {
			return err
		}
	}
	return s.Err()
}

// listing is what commands share that print a list.
type listing struct {
	command.DataFlags
	JSON bool `name:"json" help:"One JSON object per line."`
}

// table prints the answer of an operation, as it is or as a table.
func table[T any](e *command.Env, l *listing, name string, args any, head, empty string, row func(x T) []string) error {
	var b bytes.Buffer
	if err := operate(e, &l.DataFlags, name, args, &b); err != nil {
		return err
	}
	if l.JSON {
		_, err := e.Out.Write(b.Bytes())
		return err
	}
	if b.Len() == 0 {
		_, err := fmt.Fprintln(e.Out, empty)
		return err
	}
	w := tabwriter.NewWriter(e.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, head)
	err := lines(&b, func(_ []byte, x T) error {
		cells := row(x)
		for i := range cells {
			cells[i] = printable.Line(cells[i])
		}
		_, err := fmt.Fprintln(w, strings.Join(cells, "\t"))
		return err
	})
	return errors.Join(err, w.Flush())
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// codeLine is a code that was made. Field names are API.
type codeLine struct {
	Type    string `json:"type"` // "code"
	Code    string `json:"code"`
	Uses    int    `json:"uses"`
	Comment string `json:"comment,omitempty"`
}

// endedLine is what was ended. Field names are API.
type endedLine struct {
	Type string `json:"type"` // "ended"
	ID   string `json:"id"`
}

type enrollCodeCmd struct {
	listing
	For     time.Duration `name:"for" default:"24h" help:"How long it may be used, up to 720h."`
	Uses    int           `name:"uses" default:"1" help:"How many machines may use it."`
	Comment string        `name:"comment" placeholder:"TEXT" help:"What it is for; shown beside it."`
}

// Run makes a code.
func (c *enrollCodeCmd) Run(e *command.Env) error {
	var b bytes.Buffer
	if err := operate(e, &c.DataFlags, "fleet.code", fleet.CodeArgs{Life: c.For, Uses: c.Uses, Comment: c.Comment}, &b); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(codeLine{"code", strings.TrimSpace(b.String()), c.Uses, c.Comment})
	}
	_, err := e.Out.Write(b.Bytes())
	return err
}

type codesCmd struct {
	listing
	End string `name:"end" placeholder:"NAME" help:"End the code of that name."`
}

// Run lists codes.
func (c *codesCmd) Run(e *command.Env) error {
	if c.End != "" {
		return operate(e, &c.DataFlags, "fleet.code", fleet.CodeArgs{Withdraw: c.End}, e.Out)
	}
	return table(e, &c.listing, "fleet.codes", struct{}{}, "NAME\tUSES LEFT\tUNTIL (UTC)\tBY\tCOMMENT", "no code is in force", func(x fleet.Code) []string {
		return []string{x.Name, fmt.Sprint(x.Uses), stamp(x.Until), x.By, x.Comment}
	})
}

type pendingCmd struct{ listing }

// Run lists machines that wait.
func (c *pendingCmd) Run(e *command.Env) error {
	return table(e, &c.listing, "fleet.hosts", fleet.HostsArgs{States: []fleet.State{fleet.Pending}}, "ID\tNAME\tFINGERPRINT\tFROM\tADDRESSES\tSYSTEM\tCODE\tASKED (UTC)", "no machine waits for approval",
		func(x fleet.HostLine) []string {
			return []string{x.ID, x.Name, x.Fingerprint, x.From, strings.Join(x.Addresses, " "), x.OS + "/" + x.Arch, x.Code, stamp(x.Asked)}
		})
}

type approveCmd struct {
	listing
	All   bool     `name:"all" help:"All that wait."`
	Code  string   `name:"code" placeholder:"NAME" help:"With --all: only those that showed the code of that name."`
	Hosts []string `arg:"" optional:"" name:"host" help:"Fingerprints as the machines show them, ids or names."`
}

// Run lets machines in.
func (c *approveCmd) Run(e *command.Env) error {
	if c.All == (len(c.Hosts) > 0) {
		return hint.New(errors.New("name the machines, or all"), "chaperone fleet pending lists them; compare the fingerprint with what the machine shows")
	}
	return decide(e, &c.listing, fleet.DecideArgs{Hosts: c.Hosts, All: c.All, Code: c.Code}, "approved")
}

type refuseCmd struct {
	listing
	Reason string   `name:"reason" required:"" help:"Why."`
	Hosts  []string `arg:"" name:"host" help:"Fingerprints, ids or names."`
}

// Run refuses machines.
func (c *refuseCmd) Run(e *command.Env) error {
	return decide(e, &c.listing, fleet.DecideArgs{Hosts: c.Hosts, Refuse: true, Reason: c.Reason}, "refused")
}

func decide(e *command.Env, l *listing, args fleet.DecideArgs, word string) error {
	var b bytes.Buffer
	failed := operate(e, &l.DataFlags, "fleet.decide", args, &b)
	err := lines(&b, func(raw []byte, x fleet.HostLine) error {
		if l.JSON {
			_, err := fmt.Fprintf(e.Out, "%s\n", raw)
			return err
		}
		_, err := fmt.Fprintf(e.Out, "%s %s (%s)\n", word, printable.Line(x.Name), x.ID)
		return err
	})
	return errors.Join(failed, err)
}

type hostsCmd struct {
	listing
	Programs bool `name:"programs" help:"Also what each has, as its last scan found it."`
}

// Run lists the fleet.
func (c *hostsCmd) Run(e *command.Env) error {
	return table(e, &c.listing, "fleet.hosts", fleet.HostsArgs{States: []fleet.State{fleet.Approved, fleet.Revoked}, Inventory: c.Programs}, "NAME\tSTATE\tSEEN (UTC)\tPOLICY\tAGENT\tSYSTEM\tPROGRAMS\tID", "no machine belongs to the fleet",
		func(x fleet.HostLine) []string {
			policy, seen := "behind", stamp(x.Seen)
			switch {
			case x.Trouble != "":
				policy = "broken: " + x.Trouble
			case x.Current:
				policy = "current"
			case x.Generation == 0:
				policy = "none"
			}
			if x.Online {
				seen = "connected"
			}
			programs := ""
			if list, ok := x.Programs.([]any); ok {
				programs = names(list)
			}
			state := string(x.State)
			if !x.Copied.IsZero() {
				state += ", copied " + stamp(x.Copied)
			}
			return []string{x.Name, state, seen, policy, x.Version + " " + x.Mode, x.OS + "/" + x.Arch, programs, x.ID}
		})
}

// mostNamed is how many programs of a machine a table names.
const mostNamed = 6

// names says which programs a machine has: each once, with how many files are of it.
func names(programs []any) string {
	count := map[string]int{}
	for _, p := range programs {
		if facts, ok := p.(map[string]any); ok {
			app, _ := facts["app"].(string)
			version, _ := facts["version"].(string)
			if app == "" {
				app = "another"
			}
			count[strings.TrimSpace(app+" "+version)]++
		}
	}
	var out []string
	for _, what := range slices.Sorted(maps.Keys(count)) {
		if n := count[what]; n > 1 {
			what += fmt.Sprintf(" (%d files)", n)
		}
		out = append(out, what)
	}
	if more := len(out) - mostNamed; more > 0 {
		out = append(out[:mostNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

type approvalsCmd struct{ listing }

// Run lists exceptions and requests.
func (c *approvalsCmd) Run(e *command.Env) error {
	return table(e, &c.listing, "fleet.approvals", struct{}{}, "ID\tWHAT\tFOR\tUNTIL (UTC)\tREASON\tBY", "nothing is approved, and nobody asks", func(x fleet.ApprovalLine) []string {
		if q := x.Request; q != nil {
			return []string{q.ID, spaced(q.App, q.Path, q.SHA256), "asked on " + q.Name + " by " + q.User, "-", q.Reason, ""}
		}
		a := x.Approval
		return []string{a.ID, a.What(), a.For(), stamp(a.Until), a.Reason, a.By}
	})
}

// spaced joins the texts that are not empty.
func spaced(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), " ")
}

type allowCmd struct {
	listing
	Host    string        `name:"host" xor:"who" help:"For one machine."`
	Person  string        `name:"person" xor:"who" help:"For the machines of one person, by the table of people."`
	Group   string        `name:"group" xor:"who" help:"For the machines of a group of the policy."`
	Request string        `name:"request" placeholder:"ID" help:"Grant what a request asks for, on its machine unless another is named."`
	App     string        `name:"app" placeholder:"ID" help:"The messenger, by its id in the catalog."`
	SHA256  string        `name:"sha256" help:"One file, by its SHA-256."`
	Signer  string        `name:"publisher" placeholder:"SUBJECT" help:"All that a publisher signed, by the subject of its certificate."`
	For     time.Duration `name:"for" default:"168h" help:"How long, up to a year."`
	Reason  string        `name:"reason" help:"Why; that of the request without it."`
}

// whom returns for whom something is, by the one flag that is not "".
func whom(host, person, group string) (subject fleet.Subject, name string) {
	switch {
	case host != "":
		return fleet.OneHost, host
	case person != "":
		return fleet.OnePerson, person
	case group != "":
		return fleet.OneGroup, group
	}
	return "", ""
}

// Run grants an exception.
func (c *allowCmd) Run(e *command.Env) error {
	a := fleet.Approval{App: c.App, SHA256: strings.ToLower(c.SHA256), Publisher: c.Signer, Reason: c.Reason, Asked: c.Request}
	if a.Subject, a.Name = whom(c.Host, c.Person, c.Group); a.Name == "" && c.Request == "" {
		return hint.New(errors.New("nobody is named for whom it is"), "--host, --person or --group; or --request ID")
	}
	var b bytes.Buffer
	if err := operate(e, &c.DataFlags, "fleet.approval", fleet.GrantArgs{Approval: a, For: c.For}, &b); err != nil {
		return err
	}
	return lines(&b, func(raw []byte, x fleet.ApprovalLine) error {
		if c.JSON {
			_, err := fmt.Fprintf(e.Out, "%s\n", raw)
			return err
		}
		_, err := fmt.Fprintf(e.Out, "approved until %s UTC: %s for %s (%s)\n", stamp(x.Approval.Until), printable.Line(x.Approval.What()), printable.Line(x.Approval.For()), x.Approval.ID)
		return err
	})
}

type withdrawCmd struct {
	listing
	Reason string `name:"reason" required:"" help:"Why."`
	ID     string `arg:"" help:"Of the exception or request."`
}

// Run ends an exception.
func (c *withdrawCmd) Run(e *command.Env) error {
	if err := operate(e, &c.DataFlags, "fleet.approval", fleet.GrantArgs{Approval: fleet.Approval{Reason: c.Reason}, Withdraw: c.ID}, e.Out); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(endedLine{"ended", c.ID})
	}
	_, err := fmt.Fprintf(e.Out, "ended %s\n", printable.Line(c.ID))
	return err
}
