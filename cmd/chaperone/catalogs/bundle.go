package catalogs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

type keygenCmd struct {
	Name string `arg:"" help:"Name of the key, as catalog.example.org; it stands in every bundle."`
	Out  string `name:"out" short:"o" required:"" type:"path" placeholder:"FILE" help:"Where the secret key is written; an existing file is kept."`
}

// Run makes a key pair.
func (cmd *keygenCmd) Run(e *command.Env) error {
	return command.MakeKey(e, cmd.Name, cmd.Out)
}

type packCmd struct {
	Key     string        `name:"key" required:"" type:"path" placeholder:"FILE" help:"Secret key of catalog keygen."`
	Out     string        `name:"out" short:"o" required:"" type:"path" placeholder:"FILE" help:"Where the bundle is written; an existing file is kept."`
	Serial  uint64        `name:"serial" help:"Number of the bundle, higher than all before; the present minute without it, as 202611251830."`
	Expires time.Duration `name:"expires" default:"2160h" help:"How long it may be taken into use."`
	Dir     string        `arg:"" optional:"" type:"path" help:"Folder that holds apps/*.yaml and samples; the built-in catalog by default."`
}

// Run tests the catalog, and packs and signs it when it passes.
func (cmd *packCmd) Run(e *command.Env) error {
	if _, err := openCatalog(cmd.Dir); err != nil {
		return err
	}
	secret, err := command.ReadSmall(cmd.Key)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	checked, err := rollout.Check(e.Ctx, catalogFiles(cmd.Dir), "", now)
	if err != nil {
		return err
	}
	if failed := checked.Failed(); len(failed) > 0 {
		return reportProblems(e.Out, failed, false, "not packed")
	}
	if cmd.Serial == 0 {
		if cmd.Serial, err = strconv.ParseUint(now.Format("200601021504"), 10, 63); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(cmd.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	info, err := bundle.Pack(f, catalogFiles(cmd.Dir), bundle.Info{Serial: cmd.Serial, Created: now, Expires: now.Add(cmd.Expires)}, string(secret))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(cmd.Out))
	}
	_, err = fmt.Fprintf(e.Out, "number %d: %d messengers, %d files, %d bytes, signed by %s, expires %s\n", info.Serial, len(checked.Catalog.Apps()), info.Files,
		info.Size, strings.Join(info.Signers, ", "), info.Expires.Format(time.DateOnly))
	return err
}

type fetchCmd struct {
	command.DataFlags
	JSON   bool   `name:"json" help:"The state as one JSON object."`
	Source string `arg:"" optional:"" help:"File or https address; catalog.source of the configuration without it."`
}

// Run gets a bundle, checks it and keeps it. It changes nothing of what is in force.
func (cmd *fetchCmd) Run(e *command.Env) error {
	source := cmd.Source
	if source == "" {
		cfg, err := cmd.Load()
		if err != nil {
			return err
		}
		if source = cfg.Catalog.Source; source == "" {
			return hint.New(errors.New("no source is named"), "chaperone catalog fetch FILE, or catalog.source in the configuration")
		}
		if !rollout.IsAddress(source) {
			source = cfg.Path(source)
		}
	}
	b, err := rollout.Fetch(e.Ctx, source)
	if err != nil {
		return err
	}
	err = catalogOperation(e, &cmd.DataFlags, "catalog.accept", struct{}{}, strings.NewReader(string(b)), cmd.JSON)
	return untrustedHint(err)
}

// untrustedHint says where the keys are named that a data directory trusts.
func untrustedHint(err error) error {
	if errors.Is(err, bundle.ErrUntrusted) {
		return hint.New(err, "catalog.keys in the configuration names the keys that may sign, as chaperone catalog keygen printed them")
	}
	return err
}

type stageCmd struct {
	command.DataFlags
	JSON   bool   `name:"json" help:"The state as one JSON object."`
	Serial uint64 `arg:"" optional:"" help:"Number of a bundle that is kept; the newest without it."`
}

// Run puts a bundle into shadow.
func (cmd *stageCmd) Run(e *command.Env) error {
	return catalogOperation(e, &cmd.DataFlags, "catalog.stage", server.CatalogStageArgs{Serial: cmd.Serial}, nil, cmd.JSON)
}

type promoteCmd struct {
	command.DataFlags
	JSON bool `name:"json" help:"The state as one JSON object."`
	All  bool `name:"all" help:"For everybody at once, without the canary group."`
}

// Run takes the catalog in trial one stage on.
func (cmd *promoteCmd) Run(e *command.Env) error {
	return catalogOperation(e, &cmd.DataFlags, "catalog.promote", server.CatalogPromoteArgs{All: cmd.All}, nil, cmd.JSON)
}

type rollbackCmd struct {
	command.DataFlags
	JSON   bool   `name:"json" help:"The state as one JSON object."`
	To     int64  `name:"to" default:"-1" placeholder:"N" help:"Number to go back to; 0 is the built-in catalog. Without it the trial is given up, or the catalog before comes back."`
	Reason string `name:"reason" required:"" placeholder:"TEXT" help:"Why; it goes into the ledger."`
}

// Run gives up a trial, or goes back.
func (cmd *rollbackCmd) Run(e *command.Env) error {
	return catalogOperation(e, &cmd.DataFlags, "catalog.rollback", server.CatalogRollbackArgs{To: cmd.To, Reason: cmd.Reason}, nil, cmd.JSON)
}

type statusCmd struct {
	command.DataFlags
	JSON bool `name:"json" help:"The state as one JSON object."`
}

// Run says which catalog is in force, and how the trial of another goes.
func (cmd *statusCmd) Run(e *command.Env) error {
	return catalogOperation(e, &cmd.DataFlags, "catalog.status", struct{}{}, nil, cmd.JSON)
}

// catalogOperation runs an operation that answers with the state of the catalogs.
func catalogOperation(e *command.Env, d *command.DataFlags, name string, args any, in io.Reader, asJSON bool) error {
	var out strings.Builder
	if err := command.Operate(e, d, name, args, in, &out); err != nil {
		return err
	}
	if asJSON {
		_, err := io.WriteString(e.Out, out.String())
		return err
	}
	var s server.CatalogStatus
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil {
		return err
	}
	return printCatalogStatus(e.Out, &s)
}

func printCatalogStatus(w io.Writer, s *server.CatalogStatus) error {
	var b strings.Builder
	if s.BuiltIn {
		fmt.Fprintf(&b, "in force: the catalog %s, version %.16s\n", s.State.BuiltIn(), s.Version)
	} else {
		fmt.Fprintf(&b, "in force: number %d of %s, version %.16s, expires %s\n", s.InForce, s.Made.Format(time.DateOnly), s.Version, s.Expires.Format(time.DateOnly))
	}
	switch s.Stage {
	case rollout.Fetched:
		fmt.Fprintf(&b, "fetched: number %d; chaperone catalog stage tries it\n", s.Candidate)
	case rollout.Shadow:
		fmt.Fprintf(&b, "in shadow: number %d since %s; it decides and does not act\n", s.Candidate, s.Staged.Format(time.DateTime))
	case rollout.Canary:
		fmt.Fprintf(&b, "in canary: number %d since %s; it acts for the group %s\n", s.Candidate, s.Staged.Format(time.DateTime), s.Group)
	}
	if t := s.Trial; t != nil {
		fmt.Fprintf(&b, "since %s: %d flows and questions, %d newly stopped, %d newly passed, %d of another messenger\n",
			t.Since.Format(time.DateTime), t.Decided, t.Stopped, t.Passed, t.Renamed)
		for _, c := range t.Changes {
			fmt.Fprintf(&b, "  %d × %s: %s → %s\n", c.Count, c.Kind, c.From, c.To)
		}
	}
	if s.Trial == nil && (s.Stage == rollout.Shadow || s.Stage == rollout.Canary) {
		b.WriteString("nothing was counted: chaperone serve does not run\n")
	}
	for _, name := range s.Breaks {
		fmt.Fprintf(&b, "it stops what the policy allows: %s\n", name)
	}
	if r := s.Refused; r != nil {
		fmt.Fprintf(&b, "refused or taken back on %s: number %d: %s\n", r.Time.Format(time.DateOnly), r.Serial, r.Reason)
	}
	if s.Trouble != "" {
		fmt.Fprintf(&b, "trouble: %s\n", s.Trouble)
	}
	_, err := io.WriteString(w, printable.Text(b.String()))
	return err
}

// catalogFrom returns the files of a catalog that is named: a folder, or a bundle that one of the keys signed.
func catalogFrom(path string, trusted []string) (*catalog.Catalog, *catalog.Samples, error) {
	files := catalogFiles(path)
	if info, err := os.Stat(path); path != "" && err == nil && !info.IsDir() {
		b, err := outside.ReadFile(path, bundle.MaxSize)
		if err != nil {
			return nil, nil, err
		}
		if _, files, err = bundle.Open(b, trusted); err != nil {
			return nil, nil, hint.New(err, "--trust VERIFIER names a key that may sign, as chaperone catalog keygen printed it")
		}
	} else if _, err := openCatalog(path); err != nil {
		return nil, nil, err
	}
	c, err := catalog.Load(files)
	if err != nil {
		return nil, nil, err
	}
	s, err := catalog.LoadSamples(files)
	return c, s, err
}
