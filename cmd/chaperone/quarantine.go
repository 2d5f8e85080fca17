package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// quarantineCmd shows what was taken away, and brings it back.
type quarantineCmd struct {
	List    quarantineListCmd    `cmd:"" help:"List what is in quarantine."`
	Restore quarantineRestoreCmd `cmd:"" help:"Bring files back to where they were, exactly as they were."`
	Purge   quarantinePurgeCmd   `cmd:"" help:"Delete files, and copies of removed packages, for good that have been in quarantine for long enough; changes nothing unless told to."`
}

// quarantineOptions are what acts are done with; what is nil is not asked.
type quarantineOptions struct {
	recorder event.Recorder
	holds    quarantine.Holds
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

// ownQuarantine opens the quarantine for acts on this machine, which are recorded as the flags say.
func ownQuarantine(e *command.Env, d *command.DataFlags) (*quarantine.Store, error) {
	if err := settle(d); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this machine: %w", err)
	}
	return openQuarantine(d, host, acts(e, d))
}

type quarantineRestoreCmd struct {
	command.DataFlags
	IDs []string `arg:"" name:"id" help:"Ids, as quarantine list shows them."`
}

// Run restores each item; one that cannot be does not keep the others back.
func (c *quarantineRestoreCmd) Run(e *command.Env) error {
	store, err := ownQuarantine(e, &c.DataFlags)
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
		return hint.New(errors.Join(failed...), "chaperone quarantine list shows what is in quarantine, and where it was; where something else is at that place now, move that away first")
	}
	return nil
}

type quarantinePurgeCmd struct {
	command.DataFlags
	Age    time.Duration `name:"age" default:"720h" help:"How long a file must have been in quarantine; a day at least."`
	Delete bool          `name:"delete" help:"Delete them. Without it they are only listed."`
	IDs    []string      `arg:"" optional:"" name:"id" help:"Ids, as quarantine list shows them, or file names of kept packages; without any, all that are old enough."`
}

// Run deletes what is old enough, each recorded before it is done and refused under a hold. One that cannot be does not keep the others back.
func (c *quarantinePurgeCmd) Run(e *command.Env) error {
	store, err := ownQuarantine(e, &c.DataFlags)
	if err != nil {
		return err
	}
	defer store.Close()
	items, err := store.List()
	if err != nil {
		return err
	}
	copies, err := store.Copies()
	if err != nil {
		return err
	}
	var there []purged
	for _, i := range items {
		there = append(there, purged{i.ID, "in quarantine", i.Path, i.Time, store.Due(i, c.Age), func() error {
			_, err := store.Purge(e.Ctx, i.ID, c.Age)
			return err
		}})
	}
	for _, k := range copies {
		there = append(there, purged{k.Name, "kept", k.Path, k.Time, store.DueCopy(k, c.Age), func() error { return store.PurgeCopy(e.Ctx, k.Name, c.Age) }})
	}
	var failed []error
	for _, id := range c.IDs {
		if !slices.ContainsFunc(there, func(p purged) bool { return p.id == id }) {
			failed = append(failed, fmt.Errorf("%w: %s", quarantine.ErrNotFound, id))
		}
	}
	for _, p := range there {
		if len(c.IDs) > 0 && !slices.Contains(c.IDs, p.id) || len(c.IDs) == 0 && errors.Is(p.due, quarantine.ErrTooYoung) {
			continue
		}
		failed = append(failed, c.one(e, p))
	}
	if err := errors.Join(failed...); err != nil {
		return hint.New(err, "chaperone quarantine list shows what is in quarantine, and since when")
	}
	return nil
}

// purged is what may be deleted: a file in quarantine, or the copy of a removed package.
type purged struct {
	id, how, path string
	since         time.Time
	due           error // why it may not be yet
	purge         func() error
}

func (c *quarantinePurgeCmd) one(e *command.Env, p purged) error {
	err, done := p.due, "would be deleted with --delete"
	if err == nil && c.Delete {
		done, err = "is deleted", p.purge()
	}
	if err != nil {
		return fmt.Errorf("%s (%s): %w", p.id, p.path, err)
	}
	_, err = fmt.Fprintf(e.Out, "%s %s, %s since %s: %s\n", printable.Line(p.id), done, p.how, p.since.Format("2006-01-02"), printable.Line(p.path))
	return err
}
