// Package policies holds the commands that check, test, explain, try and replay policies.
package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// Command is `chaperone policy`.
type Command struct {
	Check   checkCmd   `cmd:"" help:"Check a policy and print the planes of each rule."`
	Test    testCmd    `cmd:"" help:"Run the cases at the end of a policy."`
	Explain explainCmd `cmd:"" help:"Say what the policy says to something, and why."`
	Try     tryCmd     `cmd:"" help:"Judge texts and deliver nothing."`
	Replay  replayCmd  `cmd:"" help:"Decide every record anew from what is stored, and compare."`
	DryRun  dryRunCmd  `cmd:"" name:"dry-run" help:"Decide every record by a new policy, and say what it would have changed."`
	Export  exportCmd  `cmd:"" help:"Write the policy for other enforcers: fapolicyd, Santa, AppLocker, App Control, browsers, managed clients, Intune and SCCM."`
	Fired   firedCmd   `cmd:"" help:"Say of each exported rule whether it ever fired, by what serve read in the logs of other enforcers (endpoint.logs, agent.logs)."`
}

type checkCmd struct {
	command.ConfigFlag
	File      string `arg:"" optional:"" help:"Policy file; else that of the configuration, else the embedded quickstart policy." type:"path"`
	Vars      bool   `help:"List the variables of expressions instead."`
	Reference bool   `help:"Print the reference of the language instead, as Markdown." hidden:""`
	JSON      bool   `name:"json" help:"One JSON object per rule."`
}

// Run checks. A broken policy is exit status 2, with the place of each mistake.
func (c *checkCmd) Run(e *command.Env) error {
	switch {
	case c.Vars:
		_, err := fmt.Fprintln(e.Out, strings.Join(policy.Variables(), "\n"))
		return err
	case c.Reference:
		_, err := io.WriteString(e.Out, policy.Reference())
		return err
	}
	set, err := c.Rules(e, c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		for _, r := range set.Policy.Rules() {
			if err := json.NewEncoder(e.Out).Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	for _, r := range set.Policy.Rules() {
		var planes []string
		for i, p := range r.Planes {
			planes = append(planes, p+" ("+r.Mode[i]+")")
		}
		does := append([]string{}, r.Obligations...)
		if r.Verdict != "" {
			does = append(does, r.Verdict)
		}
		fmt.Fprintf(printable.Writer(e.Out), "%-24s %-24s on %s\n", r.ID, strings.Join(does, ", "), strings.Join(planes, ", "))
		for _, note := range r.Notes {
			fmt.Fprintf(printable.Writer(e.Out), "  note: %s\n", note)
		}
	}
	_, err = fmt.Fprintf(printable.Writer(e.Out), "policy %s is fine: %d rules, version %s\n", set.Policy.File().Name(), len(set.Policy.Rules()), set.Policy.Version())
	return err
}

type testCmd struct {
	command.ConfigFlag
	File string `arg:"" optional:"" help:"Policy file; else that of the configuration, else the embedded quickstart policy." type:"path"`
	JSON bool   `name:"json" help:"One JSON object per failure."`
}

// Run runs the cases; one that fails makes the exit status 1.
func (c *testCmd) Run(e *command.Env) error {
	set, err := c.Rules(e, c.File)
	if err != nil {
		return err
	}
	failures, count := set.Policy.RunTests(e.Ctx, set.Finder())
	for _, f := range failures {
		if c.JSON {
			if err := json.NewEncoder(e.Out).Encode(map[string]any{"case": f.Case + 1, "line": f.Line, "message": f.Msg}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(printable.Writer(e.Out), "%s:%d: case %d: %s\n", set.Policy.File().Name(), f.Line, f.Case+1, f.Msg)
	}
	if !c.JSON {
		fmt.Fprintf(printable.Writer(e.Out), "%d of %d cases passed\n", count-len(failures), count)
	}
	if len(failures) > 0 {
		return command.ErrFindings
	}
	return nil
}

type explainCmd struct {
	command.ConfigFlag
	Policy        string   `help:"Policy file; else that of the configuration, else the embedded quickstart policy." type:"path"`
	From          string   `help:"Handle of the sender, or the person behind a machine."`
	To            []string `help:"Handles of recipients."`
	Room          string   `help:"Room of the message."`
	Text          string   `help:"Text of a message."`
	Name          string   `help:"Host name of a flow or question."`
	Address       string   `help:"Server address of a flow."`
	Port          uint16   `help:"Server port of a flow."`
	Protocol      string   `help:"Recognised protocol of a flow."`
	App           string   `help:"Messenger."`
	Client        string   `help:"Client address."`
	Host          string   `help:"Machine."`
	ProgramSHA256 string   `name:"program-sha256" help:"Hash of a program."`
	Publisher     string   `help:"Publisher of a program."`
	JSON          bool     `name:"json" help:"One JSON object."`
}

// sure is how surely a messenger that was named by hand is recognised.
func sure(app string) event.Confidence {
	if app == "" {
		return 0
	}
	return event.Exact
}

// event makes an event of the flags: a program, a flow, a question or a message.
func (c *explainCmd) event() (*event.Event, error) {
	e := &event.Event{From: event.Party{Handle: c.From, Person: c.From}, Host: event.Host{Name: c.Host, Address: c.Client, Person: c.From}}
	e.Room.Name = c.Room
	for _, to := range c.To {
		e.To = append(e.To, event.Party{Handle: to, Person: to})
	}
	switch {
	case c.ProgramSHA256 != "" || c.Publisher != "":
		e.Kind, e.Program = event.FindingHit, &event.Program{SHA256: c.ProgramSHA256, Publisher: c.Publisher, App: c.App, Confidence: sure(c.App)}
	case c.Text != "" || len(c.To) > 0 || c.Room != "":
		e.Kind, e.Text = event.Message, c.Text
	case c.Address != "" || c.Port != 0 || c.Protocol != "" || c.Name == "" && c.App != "":
		server := c.Address
		if server == "" {
			server = "0.0.0.0"
		}
		if strings.Contains(server, ":") {
			server = "[" + server + "]"
		}
		e.Kind = event.FlowSeen
		e.Flow = &event.Flow{Proto: "tcp", Name: c.Name, App: c.App, Client: c.Client, Server: fmt.Sprintf("%s:%d", server, c.Port), Confidence: sure(c.App)}
		if c.Protocol != "" {
			e.Facts = []event.Fact{{Name: policy.ProtocolFact, Value: c.Protocol}}
		}
	case c.Name != "":
		e.Kind, e.Question = event.DNSQuery, &event.Question{Name: c.Name, App: c.App, Client: c.Client, Type: "A"}
	default:
		return nil, hint.New(errors.New("nothing to explain"), "give --text, --name, --address, --app or --program-sha256")
	}
	return e, nil
}

// Run explains.
func (c *explainCmd) Run(e *command.Env) error {
	set, err := c.Rules(e, c.Policy)
	if err != nil {
		return err
	}
	if _, known := set.Catalog.App(c.App); c.App != "" && !known {
		return hint.New(fmt.Errorf("no messenger has the id %q", c.App), "chaperone catalog show lists them")
	}
	for _, a := range []string{c.Address, c.Client} {
		if _, err := netip.ParseAddr(a); a != "" && err != nil {
			return hint.New(fmt.Errorf("%q is no address", a), "--address and --client take an IP address; --name takes the name of a host")
		}
	}
	ev, err := c.event()
	if err != nil {
		return err
	}
	ev.Received = time.Now()
	set.Finder().Fill(e.Ctx, ev)
	x := set.Policy.Explain(&policy.Input{Event: ev, Now: ev.Received, Final: true})
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(map[string]any{"kind": ev.Kind, "verdict": x.Verdict.Action, "rule": x.Verdict.Rule, "enforced": x.Verdict.Enforced,
			"say": x.Verdict.Say, "reason": x.Verdict.Reason, "obligations": x.Verdict.Obligations, "also": x.Verdict.Also, "policy": x.Verdict.Policy,
			"hits": hitsJSON(ev.Hits), "steps": x.Steps})
	}
	return printExplanation(e.Out, ev, x)
}

func printExplanation(out io.Writer, ev *event.Event, x policy.Explanation) error {
	out = printable.Writer(out)
	enforced := "enforced"
	if !x.Verdict.Enforced {
		enforced = "not enforced: monitor mode"
	}
	fmt.Fprintf(out, "%s: %s by %s (%s)\n", ev.Kind, x.Verdict.Action, x.Verdict.Rule, enforced)
	if x.Verdict.Say != "" {
		fmt.Fprintf(out, "  says: %s\n", x.Verdict.Say)
	}
	if x.Verdict.Reason != "" {
		fmt.Fprintf(out, "  because: %s\n", x.Verdict.Reason)
	}
	for _, h := range ev.Hits {
		fmt.Fprintf(out, "  hit: %s (%s), %d\n", h.Name, h.Inspector, h.Count)
	}
	for _, o := range x.Verdict.Obligations {
		fmt.Fprintf(out, "  besides: %s %s, by %s\n", o.Kind, o.Queue, o.Rule)
	}
	for _, s := range x.Steps {
		why := s.Result
		switch {
		case s.Decides:
			why = "decides"
		case s.Result == "no" || s.Result == "pending" || s.Result == "error":
			why = s.Result + ": " + s.Matcher
		case s.Result == "yes":
			why = "matches"
		}
		if _, err := fmt.Fprintf(out, "  rule %-24s %s\n", s.Rule, why); err != nil {
			return err
		}
	}
	return nil
}
