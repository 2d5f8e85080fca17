package agentcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden/lsm"
	"github.com/chaperone-im/chaperone/internal/event"
)

type hardenCmd struct {
	command.DataFlags
	Apply []string `name:"apply" placeholder:"PART,…" xor:"do" help:"Parts to apply: memfd, namespaces, media, programs; configured for those that agent.harden of the configuration names."`
	Undo  []string `name:"undo" placeholder:"PART,…" xor:"do" help:"Parts to take back, exactly as it was before."`
	Yes   bool     `name:"yes" help:"Do it. Without it is said what would be changed."`
	JSON  bool     `name:"json" help:"One JSON object a line."`
	Door  string   `name:"socket" hidden:""`
	Root  string   `name:"root" hidden:"" help:"For tests: the machine lies below this folder."`
}

// configured stands for the parts that the configuration names.
const configured = "configured"

// Run says how the settings are, or switches some.
func (c *hardenCmd) Run(e *command.Env) error {
	settings, err := c.Load()
	if err != nil {
		return err
	}
	if c.Door == "" {
		c.Door = settings.Path(settings.Agent.Socket)
	}
	s := harden.NewSwitch(c.Root, filepath.Join(settings.Data(), "agent", "harden"))
	if len(c.Apply) == 0 && len(c.Undo) == 0 {
		return c.list(e, s, settings.Agent.Harden)
	}
	if c.Data == "" && c.Config == "" {
		return hint.New(errors.New("no data directory is named: what was there before is kept in it, and the act is recorded"), "--config /etc/chaperone/agent.yaml")
	}
	if c.Yes && c.Root == "" && os.Geteuid() != 0 {
		return hint.New(errors.New("this needs root"), "without --yes it is only said what would be changed")
	}
	for _, name := range c.Undo {
		if err := c.undo(e, s, harden.Part(name)); err != nil {
			return err
		}
	}
	for _, p := range c.wanted(s, settings.Agent.Harden) {
		if err := c.apply(e, s, p); err != nil {
			return err
		}
	}
	if !c.Yes && !c.JSON {
		fmt.Fprintln(e.Out, "Nothing was changed. With --yes it is.")
	}
	return nil
}

// wanted returns the parts to apply; of those that the configuration names the ones that are not applied yet.
func (c *hardenCmd) wanted(s *harden.Switch, named []string) []harden.Part {
	var out []harden.Part
	for _, name := range c.Apply {
		if name != configured {
			out = append(out, harden.Part(name))
			continue
		}
		for _, p := range named {
			if _, err := s.Applied(harden.Part(p)); errors.Is(err, harden.ErrNot) {
				out = append(out, harden.Part(p))
			}
		}
	}
	return out
}

// state is one line of the list.
type state struct {
	Type    string      `json:"type"` // always "setting"
	Part    harden.Part `json:"part"` // "" where it is not switched here
	Name    string      `json:"name"`
	Closed  bool        `json:"closed"`
	Absent  bool        `json:"absent"`  // this machine cannot have it
	Applied bool        `json:"applied"` // by this command
	Wanted  bool        `json:"wanted"`  // by agent.harden
	What    string      `json:"what"`
	Why     string      `json:"why"`
	Do      string      `json:"do"`
}

// list says how each setting is.
func (c *hardenCmd) list(e *command.Env, s *harden.Switch, wanted []string) error {
	for _, set := range harden.Settings(c.Root, agent.Removable) {
		_, err := s.Applied(set.Part)
		line := state{"setting", set.Part, set.Name, set.Closed, set.Absent, set.Part != "" && err == nil, slices.Contains(wanted, string(set.Part)), set.What, set.Why, set.Do}
		if c.JSON {
			if err := json.NewEncoder(e.Out).Encode(line); err != nil {
				return err
			}
			continue
		}
		word := "open"
		if set.Closed {
			word = "closed"
		} else if set.Absent {
			word = "-"
		}
		fmt.Fprintf(e.Out, "%-11s %-6s  %s: %s\n", set.Part, word, set.Name, set.What)
		if line.Applied {
			fmt.Fprintf(e.Out, "%20s applied here; --undo %s takes it back\n", "", set.Part)
		}
		if !set.Closed {
			fmt.Fprintf(e.Out, "%20s %s\n%20s %s\n", "", set.Why, "", set.Do)
		}
	}
	return nil
}

// change is what is, or would be, changed.
type change struct {
	Type   string      `json:"type"` // "apply" or "undo"
	Part   harden.Part `json:"part"`
	Done   bool        `json:"done"`
	File   string      `json:"file"`
	Text   string      `json:"text"`
	Name   string      `json:"setting"`
	From   string      `json:"from"`
	To     string      `json:"to"`
	Others []string    `json:"others"` // files that set the same
	Note   string      `json:"note"`
}

const (
	noteMedia    = "media that are mounted now stay as they are until they are mounted again; what /etc/fstab names is mounted as it says"
	notePrograms = "they stay until they are taken away, whatever becomes of the agent, which loads them again when the machine starts"
	noteLasting  = "this kernel keeps the setting until the next boot"
)

func (c *hardenCmd) apply(e *command.Env, s *harden.Switch, p harden.Part) error {
	plan, err := s.Plan(p)
	if err != nil {
		return hint.New(err, "chaperone agent harden says how each part is")
	}
	line := change{"apply", p, c.Yes, plan.File, plan.Text, plan.Name, plan.From, plan.To, s.Others(plan), ""}
	switch p {
	case harden.Media:
		line.Note = noteMedia
	case harden.KernelPrograms:
		line.Note = notePrograms
	}
	if c.Yes {
		if err := c.record(e, "harden.apply", plan); err != nil {
			return err
		}
		if err := s.Apply(plan); err != nil {
			return errors.Join(err, c.record(e, "harden.fail", plan))
		}
	}
	return c.say(e, &line)
}

func (c *hardenCmd) undo(e *command.Env, s *harden.Switch, p harden.Part) error {
	was, err := s.Applied(p)
	if err != nil {
		return err
	}
	line := change{"undo", p, c.Yes, was.File, "", was.Name, was.To, was.From, nil, ""}
	if was.Before != nil {
		line.Text = string(was.Before.Data)
	}
	if c.Yes {
		if err := c.record(e, "harden.undo", was); err != nil {
			return err
		}
		lasting, err := s.Undo(p)
		if err != nil {
			return hint.New(errors.Join(err, c.record(e, "harden.fail", was)), "put it back by hand, or as it was applied: what was before is in agent/harden of the data directory")
		}
		if lasting {
			line.Note = noteLasting
		}
	}
	return c.say(e, &line)
}

func (c *hardenCmd) say(e *command.Env, l *change) error {
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(l)
	}
	would := "would be "
	if l.Done {
		would = ""
	}
	switch {
	case l.Part == harden.KernelPrograms && l.Type == "undo":
		fmt.Fprintf(e.Out, "%s: the programs in the kernel %staken away\n", l.Part, would)
	case l.Part == harden.KernelPrograms:
		fmt.Fprintf(e.Out, "%s: programs %sloaded into the kernel, and held below %s\n", l.Part, would, lsm.Folder)
	case l.Type == "undo" && l.Text == "":
		fmt.Fprintf(e.Out, "%s: %s %sremoved\n", l.Part, l.File, would)
	default:
		fmt.Fprintf(e.Out, "%s: %s %swritten:\n    %s\n", l.Part, l.File, would, strings.ReplaceAll(strings.TrimSpace(l.Text), "\n", "\n    "))
	}
	if l.Name != "" {
		fmt.Fprintf(e.Out, "%s: %s %sset from %s to %s\n", l.Part, strings.ReplaceAll(l.Name, "/", "."), would, l.From, l.To)
	}
	for _, f := range l.Others {
		fmt.Fprintf(e.Out, "%s: %s sets the same; which is read last wins at the next boot\n", l.Part, f)
	}
	if l.Note != "" {
		fmt.Fprintf(e.Out, "%s: %s\n", l.Part, l.Note)
	}
	return nil
}

// record puts an act on record before it is done: through the agent when one runs here, else in the data directory.
func (c *hardenCmd) record(e *command.Env, action string, x *harden.Change) error {
	detail := &event.ActDetail{Action: action, Object: string(x.Part)}
	if x.File != "" {
		detail.Details = append(detail.Details, event.Fact{Name: "file", Value: x.File})
	}
	if x.Name != "" {
		detail.Details = append(detail.Details, event.Fact{Name: "setting", Value: x.Name}, event.Fact{Name: "from", Value: x.From}, event.Fact{Name: "to", Value: x.To})
	}
	_, asked := agent.Ask(e.Ctx, c.Door, &agent.Request{Act: detail})
	if asked == nil {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	by := "root"
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	if err := c.Remote(e).Record(e.Ctx, agent.Act(detail, by, event.Host{Name: host})); err != nil {
		return hint.New(fmt.Errorf("it is not done, since it cannot be recorded: %w", errors.Join(err, asked)), "start the agent, which takes it, or chaperone quickstart for a record in the data directory")
	}
	return nil
}
