//go:build linux

package main

import (
	"errors"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/cmd/chaperone/inspection"
	"github.com/chaperone-im/chaperone/internal/event"
)

// inspectCmd names the messengers in captures and on interfaces.
type inspectCmd struct {
	JSON      bool          `name:"json" help:"One JSON object per line."`
	Policy    string        `name:"policy" type:"path" placeholder:"FILE" help:"Policy to decide by; else that of the configuration, else the embedded quickstart policy."`
	Host      string        `name:"host" placeholder:"NAME" help:"The machine that is the client of every flow."`
	Interface string        `name:"interface" short:"i" placeholder:"IFACE" help:"Listen to an interface instead of reading captures."`
	For       time.Duration `name:"for" help:"How long to listen; until Ctrl-C without it."`
	Evidence  bool          `name:"evidence" help:"For people: all evidence below each line of the table."`
	Explain   string        `name:"explain" placeholder:"FLOW" help:"Say everything of one flow: its number, or \"tcp CLIENT SERVER\"."`
	One       bool          `name:"one-network" help:"The captures are of one network: what was learned and flows go on from one to the next, in the order of time."`
	Log       []string      `name:"log" placeholder:"FORMAT:PATH" sep:"none" help:"Read a log of another program instead: zeek, suricata, squid or dnsmasq; - is standard input."`
	command.DataFlags
	Captures []string `arg:"" optional:"" name:"capture" type:"path" help:"Captures, pcap or pcapng; - is standard input."`

	recorder event.Recorder // takes findings; nil records nothing
}

// Run inspects.
func (c *inspectCmd) Run(e *command.Env) error {
	if given := [3]bool{c.Interface != "", len(c.Captures) > 0, len(c.Log) > 0}; given != [3]bool{true} && given != [3]bool{1: true} && given != [3]bool{2: true} {
		return hint.New(errors.New("inspect takes one of these: captures, an interface (-i), or logs (--log)"), "chaperone inspect CAPTURE...  or  chaperone inspect -i eth0 --for 10m  or  chaperone inspect --log zeek:ssl.log")
	}
	if len(c.Log) > 0 && (c.Explain != "" || c.One) {
		return hint.New(errors.New("--explain and --one-network are of captures"), "a log's line says all there is: --log FORMAT:PATH --json")
	}
	if c.recorder == nil {
		c.recorder = c.Recording(e)
	}
	set, err := c.Rules(e, c.Policy)
	if err != nil {
		return err
	}
	r := &inspection.Run{Catalog: set.Catalog, Decider: set.Policy, Host: c.Host, Recorder: c.recorder, In: e.In, Progress: command.Terminal(e.ErrOut), One: c.One}
	if c.Explain != "" {
		if c.Interface != "" {
			return errors.New("--explain is for captures")
		}
		return r.Explain(e.Ctx, e.Out, c.JSON, c.Explain, c.Captures)
	}
	r.Out = inspection.NewTable(e.Out, set.Policy, c.Evidence)
	if c.JSON {
		r.Out = inspection.NewLines(e.Out, c.Interface != "")
	}
	defer inspection.KeepSmall()()
	switch {
	case c.Interface != "":
		err = r.Live(e.Ctx, c.Interface, c.For)
	case len(c.Log) > 0:
		err = r.Logs(e.Ctx, c.Log)
	default:
		err = r.Captures(e.Ctx, c.Captures)
	}
	if err := errors.Join(err, r.Out.Close()); err != nil {
		return command.Interrupted(e, err, c.recorder)
	}
	if r.Forbidden > 0 {
		return command.ErrFindings
	}
	return nil
}
