// Package catalogs holds the commands that show, check, compare and roll out catalogs of messengers.
package catalogs

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// Command is `chaperone catalog`.
type Command struct {
	Lint lintCmd `cmd:"" help:"Find contradictions, over-broad facts and facts without a source."`
	Show showCmd `cmd:"" help:"Show the messengers that are known, or what is known of one."`
	Test testCmd `cmd:"" help:"Lint, look every fact up, and replay every sample: each must be recognised as its label says."`

	Diff     diffCmd     `cmd:"" help:"Say what another catalog would newly stop, on samples, captures and the record."`
	Keygen   keygenCmd   `cmd:"" help:"Make a key that signs bundles, and print its verifier."`
	Pack     packCmd     `cmd:"" help:"Test a catalog, and pack and sign it into a bundle."`
	Fetch    fetchCmd    `cmd:"" help:"Get a bundle, check it and keep it; nothing that is in force changes."`
	Stage    stageCmd    `cmd:"" help:"Try a bundle: it decides beside the catalog in force, and does not act."`
	Promote  promoteCmd  `cmd:"" help:"Take the catalog in trial one stage on: to the canary group, then to all."`
	Rollback rollbackCmd `cmd:"" help:"Give up a trial, or go back to a catalog before."`
	Status   statusCmd   `cmd:"" help:"Say which catalog is in force, and how the trial of another goes."`
}

type lintCmd struct {
	Dir  string `arg:"" optional:"" help:"Folder that holds apps/*.yaml; the built-in catalog by default." type:"path"`
	JSON bool   `name:"json" help:"One JSON object per problem."`
}

// Run lints; problems make the exit status 1.
func (cmd *lintCmd) Run(e *command.Env) error {
	c, err := openCatalog(cmd.Dir)
	if err != nil {
		return err
	}
	return reportProblems(e.Out, c.Lint(), cmd.JSON, fmt.Sprintf("%d messengers, %d facts", len(c.Apps()), c.Facts()))
}

type showCmd struct {
	App  string `arg:"" optional:"" help:"Id of a messenger, as telegram."`
	Dir  string `help:"Folder that holds apps/*.yaml; the built-in catalog by default." type:"path"`
	JSON bool   `name:"json" help:"One JSON object per messenger."`
}

// Run shows one messenger, or lists all.
func (cmd *showCmd) Run(e *command.Env) error {
	c, err := openCatalog(cmd.Dir)
	if err != nil {
		return err
	}
	apps := c.Apps()
	if cmd.App != "" {
		app, ok := c.App(cmd.App)
		if !ok {
			return hint.New(fmt.Errorf("no messenger has the id %q", cmd.App), "chaperone catalog show lists them")
		}
		apps = []catalog.App{app}
	}
	switch {
	case cmd.JSON:
		enc := json.NewEncoder(e.Out)
		enc.SetEscapeHTML(false)
		for i := range apps {
			if err := enc.Encode(&apps[i]); err != nil {
				return err
			}
		}
		return nil
	case cmd.App != "":
		return showApp(e.Out, c, &apps[0])
	}
	return listApps(e.Out, c)
}

// openCatalog loads the built-in catalog, or the one in a folder.
func openCatalog(dir string) (*catalog.Catalog, error) {
	if dir == "" {
		return catalog.Default()
	}
	if _, err := os.Stat(filepath.Join(dir, "apps")); err != nil {
		return nil, hint.New(err, "a catalog is a folder that holds apps/*.yaml, one file for each messenger")
	}
	c, err := catalog.Load(os.DirFS(dir))
	if err != nil {
		return nil, hint.New(err, "docs/guide/catalog.md explains the file of a messenger")
	}
	return c, nil
}

// reportProblems writes the problems, and for people what was looked at. Warnings are no failure.
func reportProblems(w io.Writer, problems []catalog.Problem, asJSON bool, what string) error {
	failed := 0
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, p := range problems {
		if !p.Warning {
			failed++
		}
		if !asJSON {
			fmt.Fprintln(w, printable.Line(p.String()))
			continue
		}
		if err := enc.Encode(struct {
			Type string `json:"type"`
			catalog.Problem
		}{"problem", p}); err != nil {
			return err
		}
	}
	if !asJSON {
		if n := len(problems) - failed; n > 0 {
			what += fmt.Sprintf(", %d warnings", n)
		}
		fmt.Fprintf(w, "%s, %d problems\n", what, failed)
	}
	if failed > 0 {
		return command.ErrFindings
	}
	return nil
}

func listApps(w io.Writer, c *catalog.Catalog) error {
	tw := tabwriter.NewWriter(printable.Writer(w), 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tNAME\tFACTS")
	for _, app := range c.Apps() {
		fmt.Fprintf(tw, "%s\t%s\t%d\n", app.ID, app.Name, len(app.Facts()))
	}
	return tw.Flush()
}

func showApp(w io.Writer, c *catalog.Catalog, app *catalog.App) error {
	w = printable.Writer(w)
	fmt.Fprintf(w, "%s (%s), catalog %s\n", app.Name, app.ID, c.Version()[:16])
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range app.Facts() {
		notes := []string{fmt.Sprintf("%.2f", f.Strength.Float())}
		if f.Shared {
			notes = append(notes, "shared")
		}
		if f.Identity {
			notes = append(notes, "identifies")
		}
		if f.Service != "" {
			notes = append(notes, f.Service)
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\n", f.Kind, f.Text, strings.Join(notes, ", "), f.Source)
	}
	return tw.Flush()
}
