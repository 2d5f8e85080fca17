//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/manual"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// completionCmd prints what a shell needs to complete our commands.
type completionCmd struct {
	Shell string `arg:"" name:"shell" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints.
func (c *completionCmd) Run(e *command.Env) error {
	root, err := describeCommands()
	if err != nil {
		return err
	}
	return map[string]func(io.Writer, *manual.Command) error{"bash": manual.Bash, "zsh": manual.Zsh, "fish": manual.Fish}[c.Shell](e.Out, root)
}

// referenceCmd writes the reference from the code that it describes; make generate and the packages use it.
type referenceCmd struct {
	Man bool   `name:"man" help:"The manual page and the completions instead of the pages of docs/reference."`
	Dir string `arg:"" name:"dir" type:"existingdir" help:"Folder to write to."`
}

const generated = "<!-- Made by make generate; do not edit. -->\n\n"

// Run writes.
func (c *referenceCmd) Run(e *command.Env) error {
	root, err := describeCommands()
	if err != nil {
		return err
	}
	pages := map[string]func(io.Writer) error{
		"commands.md": func(w io.Writer) error { return manual.Markdown(w, root) },
		"config.md":   configPage,
		"policy.md":   func(w io.Writer) error { _, err := io.WriteString(w, policy.Reference()); return err },
		"catalog.md":  catalogPage,
	}
	if c.Man {
		pages = map[string]func(io.Writer) error{
			"chaperone.1":    func(w io.Writer) error { return manual.Man(w, root, 1, version) },
			"chaperone.bash": func(w io.Writer) error { return manual.Bash(w, root) },
			"chaperone.zsh":  func(w io.Writer) error { return manual.Zsh(w, root) },
			"chaperone.fish": func(w io.Writer) error { return manual.Fish(w, root) },
		}
	}
	for name, write := range pages {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(c.Dir, name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func configPage(w io.Writer) error {
	fmt.Fprint(w, generated+"# Configuration\n\nOne file, `chaperone.yaml`; unknown keys are errors. Every part is optional: what is not configured does not run. "+
		"`chaperone quickstart` writes one with comments, `chaperone config test` checks one. Paths are relative to the file. Secrets are never in it, only where they are.\n\n"+
		"`[]` marks a list: `gateways[].id` is the key `id` of each item below `gateways`.\n\n")
	return config.Describe(w)
}

func catalogPage(w io.Writer) error {
	c, err := catalog.Default()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, generated+"# Messengers\n\nThe built-in catalog knows %d. `chaperone catalog show ID` tells what it knows of each, with the source of every fact. "+
		"[How to add one](../guide/catalog.md).\n\n| id | name | names | addresses | traffic | programs |\n|---|---|---|---|---|---|\n", len(c.Apps()))
	for _, a := range c.Apps() {
		names := len(a.Names.Service) + len(a.Names.Download) + len(a.Names.Web) + len(a.Names.Call) + len(a.Names.Login) + len(a.Names.Chat) + len(a.Names.File)
		programs := len(a.Programs.Windows) + len(a.Programs.MacOS) + len(a.Programs.Linux)
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %d | %d | %d | %d |\n", a.ID, a.Name, names, len(a.Addresses), len(a.Traffic), programs); err != nil {
			return err
		}
	}
	return nil
}

// describeCommands turns the command line into what package manual describes. Hidden commands stay out.
func describeCommands() (*manual.Command, error) {
	var c cli
	app, err := kong.New(&c, kong.Name("chaperone"), kong.Description(command.Description))
	if err != nil {
		return nil, err
	}
	root := describeNode(app.Model.Node)
	return &root, nil
}

func describeNode(n *kong.Node) manual.Command {
	c := manual.Command{Name: n.Name, Help: n.Help}
	for _, p := range n.Positional {
		c.Args = append(c.Args, manual.Arg{Name: p.Name, Help: p.Help, Optional: !p.Required, Many: p.IsCumulative(), Files: namesFiles(p)})
	}
	for _, f := range n.Flags {
		if f.Hidden || f.Name == "help" {
			continue
		}
		d := manual.Flag{Name: f.Name, Help: f.Help, Required: f.Required, Files: namesFiles(f.Value)}
		if f.Short != 0 {
			d.Short = string(f.Short)
		}
		if !f.IsBool() {
			d.Value = f.PlaceHolder
			if d.Value == "" {
				d.Value = strings.ToUpper(f.Name)
			}
			d.Default = f.Default
			d.Words = f.EnumSlice()
		}
		c.Flags = append(c.Flags, d)
	}
	for _, child := range n.Children {
		if !child.Hidden {
			c.Commands = append(c.Commands, describeNode(child))
		}
	}
	return c
}

func namesFiles(v *kong.Value) bool {
	return slices.Contains([]string{"path", "existingfile", "existingdir", "filecontent"}, v.Tag.Type)
}
