package fleetcmd

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
)

// reachFlags say how far a scan for the fleet goes.
type reachFlags struct {
	OneFileSystem bool `name:"one-file-system" help:"Do not cross into other file systems."`
	Local         bool `name:"local" help:"Do not cross into file systems that other machines hold."`
}

// scan makes the inventory of this machine below some roots, which are absolute and free of links. Findings are spooled as they come.
func (j *joined) scan(ctx context.Context, roots []string, reach reachFlags) (protocol.Inventory, error) {
	set := j.set.Load()
	inv := protocol.Inventory{Scanned: time.Now().UTC(), Paths: roots}
	host, err := hostname()
	if err != nil {
		return inv, err
	}
	not, err := reach.notEntered(roots)
	if err != nil {
		return inv, err
	}
	skip := []string{j.skip}
	if reach.Local {
		skip = append(skip, not...)
	}
	inv.Except = not[:min(len(not), protocol.MaxExcept)]
	scanner, err := scan.New(scan.Options{Catalog: set.Catalog, Policy: set.Policy, Recorder: j.recorder, Host: event.Host{Name: host, Person: j.Current().Person}, Connector: "agent",
		OneFileSystem: reach.OneFileSystem, Skip: skip})
	if err != nil {
		return inv, err
	}
	defer scanner.Close()
	there := slices.DeleteFunc(slices.Clone(roots), func(root string) bool {
		_, err := os.Lstat(root)
		return errors.Is(err, os.ErrNotExist)
	})
	owners := &owned{ctx: ctx}
	summary, err := scanner.Scan(ctx, there, func(r scan.Result) error {
		if f := r.Finding; f != nil && len(inv.Programs) < protocol.MaxPrograms {
			inv.Programs = append(inv.Programs, programOf(f, scanner, owners))
		} else if f != nil {
			inv.Omitted++
		}
		return nil
	})
	inv.Files, inv.Errors = summary.Files, summary.Errors
	return inv, err
}

// owned tells packages of files, as the package managers of the machine know them; of one file many things may be found, one after the other.
type owned struct {
	ctx  context.Context
	path string
	is   quarantine.Owner
	any  bool
}

func (o *owned) of(path string) (quarantine.Owner, bool) {
	if o.path != path {
		o.path = path
		o.is, o.any = quarantine.OwnerOf(o.ctx, path)
	}
	return o.is, o.any
}

// identified reports whether the evidence is good enough to take the file away, as scan --remove has it.
func identified(f *scan.Finding, s *scan.Scanner, owners *owned) bool {
	if f.Identity() || !f.Certain() {
		return f.Identity()
	}
	o, any := owners.of(f.Real)
	return any && s.MayRemove(f, o.Manager, o.Package)
}

func programOf(f *scan.Finding, s *scan.Scanner, owners *owned) protocol.Program {
	text := func(s string) string { return strings.ToValidUTF8(s[:min(len(s), 1024)], "\uFFFD") }
	p := f.Event.Program
	return protocol.Program{App: p.App, Version: text(p.Version), Form: text(p.Form), Path: text(f.Real), Inside: text(f.Inside), SHA256: f.File.SHA256, Size: f.File.Size, Publisher: text(p.Publisher),
		Verdict: string(f.Event.Verdict.Action), Rule: f.Event.Verdict.Rule, Certain: f.Certain(), Identity: identified(f, s, owners)}
}

// within are the paths that lie in one of the roots and are none of them.
func within(paths, roots []string) []string {
	var out []string
	for _, p := range paths {
		in := func(root string) bool { return strings.HasPrefix(p, strings.TrimSuffix(root, "/")+"/") }
		if !slices.Contains(roots, p) && slices.ContainsFunc(roots, in) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
