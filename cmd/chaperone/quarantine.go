package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/cmd/chaperone/scanned"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// quarantineCmd shows what was taken away, and brings it back.
type quarantineCmd struct {
	List    quarantineListCmd    `cmd:"" help:"List what is in quarantine."`
	Restore quarantineRestoreCmd `cmd:"" help:"Bring files back to where they were, exactly as they were."`
}

// quarantineOptions are what acts are done with; what is nil is not asked.
type quarantineOptions struct {
	recorder event.Recorder
	holds    quarantine.Holds
}

// acts returns what quarantine works with: with a data directory set up, acts are recorded and holds asked.
func acts(e *command.Env, d *command.DataFlags) quarantineOptions {
	if d.Data == "" && d.Config == "" {
		return quarantineOptions{}
	}
	r := d.Remote(e)
	return quarantineOptions{recorder: r, holds: r}
}

func openQuarantine(d *command.DataFlags, host string, o quarantineOptions) (*quarantine.Store, error) {
	dir, err := d.Dir()
	if err != nil {
		return nil, err
	}
	return quarantine.Open(filepath.Join(dir, "quarantine"), quarantine.Options{
		Recorder: o.recorder, Holds: o.holds, Host: event.Host{Name: host}, Account: event.Party{Handle: fmt.Sprintf("uid:%d", os.Getuid())},
	})
}

type quarantineListCmd struct {
	command.DataFlags
	JSON bool `name:"json" help:"One JSON object per line."`
}

// quarantineLine is a line of `quarantine list --json`. Its names are API.
type quarantineLine struct {
	ID         string `json:"id"`
	Path       string `json:"path"`
	PathBase64 string `json:"path_base64,omitempty"`
	App        string `json:"app"`
	SHA256     string `json:"sha256"`
	Time       string `json:"time"`
}

// Run lists.
func (c *quarantineListCmd) Run(e *command.Env) error {
	items, err := c.items()
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(e.Out)
		enc.SetEscapeHTML(false)
		for _, i := range items {
			if err := enc.Encode(quarantineLine{i.ID, i.Path, i.PathBase64, i.App, i.SHA256, i.Time.Format("2006-01-02T15:04:05.000000Z")}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(e.Out, "nothing is in quarantine")
		return err
	}
	w := tabwriter.NewWriter(e.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTIME\tMESSENGER\tPATH")
	for _, i := range items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.ID, i.Time.Format("2006-01-02 15:04:05"), printable.Line(i.App), printable.Line(i.Path))
	}
	return w.Flush()
}

// items lists without making the folder when there is none.
func (c *quarantineListCmd) items() ([]quarantine.Item, error) {
	dir, err := c.Dir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(dir, "quarantine")); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	store, err := openQuarantine(&c.DataFlags, "", quarantineOptions{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return store.List()
}

type quarantineRestoreCmd struct {
	command.DataFlags
	IDs []string `arg:"" name:"id" help:"Ids, as quarantine list shows them."`

	options quarantineOptions
}

// Run restores each item; one that cannot be does not keep the others back.
func (c *quarantineRestoreCmd) Run(e *command.Env) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this machine: %w", err)
	}
	if c.options.recorder == nil {
		c.options = acts(e, &c.DataFlags)
	}
	store, err := openQuarantine(&c.DataFlags, host, c.options)
	if err != nil {
		return err
	}
	defer store.Close()
	var failed []error
	for _, id := range c.IDs {
		item, err := store.Restore(e.Ctx, id)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if _, err := fmt.Fprintf(e.Out, "%s is back at %s\n", id, printable.Line(item.Path)); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return hint.New(errors.Join(failed...), "chaperone quarantine list shows what is in quarantine, and where it was")
	}
	return nil
}

// actLine says what was done about a file. Its names are API.
type actLine struct {
	Type    string `json:"type"` // "act"
	Action  string `json:"action"`
	Path    string `json:"path"`
	Base64  string `json:"path_base64,omitempty"`
	ID      string `json:"id,omitempty"`
	Command string `json:"command,omitempty"`
	Note    string `json:"note,omitempty"`
	Error   string `json:"error,omitempty"`
}

// actor does something about the files that hold what policy forbids, once for each.
type actor struct {
	store  *quarantine.Store
	remove bool
	out    io.Writer
	json   bool
	failed int
}

// act takes the file away, or removes the package that owns it.
func (a *actor) act(ctx context.Context, f *scan.Finding) error {
	t := quarantine.Target{Path: f.Real, Dev: f.File.Dev, Ino: f.File.Ino, Size: f.File.Size, SHA256: f.File.SHA256,
		App: f.Event.Program.App, Reason: "rule " + f.Event.Verdict.Rule}
	line := actLine{Type: "act", Action: "quarantine"}
	line.Path, line.Base64 = scan.Name(f.Real)
	if !f.Certain() {
		line.Action, line.Note = "none", scanned.Unsure(f)
		return a.say(line)
	}
	err := a.do(ctx, t, &line)
	if err != nil {
		a.failed++
		line.Error = err.Error()
	}
	return a.say(line)
}

func (a *actor) do(ctx context.Context, t quarantine.Target, line *actLine) error {
	if a.remove {
		if owner, ok := quarantine.OwnerOf(ctx, t.Path); ok {
			line.Action, line.Command, line.Note = "remove", strings.Join(owner.Command(), " "), "undo: "+owner.Undo()
			return a.store.Remove(ctx, owner, t)
		}
	}
	item, err := a.store.Take(ctx, t)
	if err != nil {
		return err
	}
	line.ID = item.ID
	if item.Links > 1 {
		line.Note = fmt.Sprintf("the file has %d more names, which still lead to it", item.Links-1)
	}
	return nil
}

func (a *actor) say(l actLine) error {
	if a.json {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(l)
	}
	var err error
	switch {
	case l.Error != "":
		_, err = fmt.Fprintf(a.out, "NOT DONE %s: %s\n", printable.Line(l.Path), printable.Line(l.Error))
	case l.Action == "none":
		_, err = fmt.Fprintf(a.out, "%s: %s\n", printable.Line(l.Path), printable.Line(l.Note))
	case l.Command != "":
		_, err = fmt.Fprintf(a.out, "removed %s (%s; %s)\n", printable.Line(l.Path), printable.Line(fmt.Sprint(l.Command)), printable.Line(l.Note))
	default:
		if l.Note != "" {
			l.Note = " (" + l.Note + ")"
		}
		_, err = fmt.Fprintf(a.out, "in quarantine as %s: %s%s\n", l.ID, printable.Line(l.Path), printable.Line(l.Note))
	}
	return err
}
