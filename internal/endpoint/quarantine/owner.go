package quarantine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Time limits of package managers.
const (
	askTimeout    = 20 * time.Second
	removeTimeout = 10 * time.Minute
)

// Owner is the package that a file belongs to.
type Owner struct {
	Manager string // dpkg, rpm, snap or flatpak
	Package string
	Version string
}

// Command returns the command that removes the package, as its words.
func (o Owner) Command() []string {
	switch o.Manager {
	case "dpkg":
		return []string{"dpkg", "--remove", o.Package}
	case "rpm":
		return []string{"rpm", "--erase", o.Package}
	case "snap":
		return []string{"snap", "remove", o.Package}
	case "flatpak":
		return []string{"flatpak", "uninstall", "--system", "--assumeyes", o.Package}
	default:
		return nil
	}
}

// Undo returns what brings the package back, in words for people and for the record.
func (o Owner) Undo() string {
	switch o.Manager {
	case "dpkg":
		return "apt-get install " + o.Package + "=" + o.Version
	case "rpm":
		return "dnf install " + o.Package + "-" + o.Version
	default:
		return o.Manager + " install " + o.Package
	}
}

// packageName is what a package may be called: nothing that a package manager could take for an option.
var packageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._:-]{0,127}$`)

// OwnerOf asks the package managers of this machine whose file path is. ok is false when no package owns it.
func OwnerOf(ctx context.Context, path string) (o Owner, ok bool) {
	for _, ask := range []func(context.Context, string) (Owner, bool){dpkgOwner, rpmOwner, pathOwner} {
		if o, ok := ask(ctx, path); ok && packageName.MatchString(o.Package) {
			return o, true
		}
	}
	return Owner{}, false
}

// dpkgOwner asks dpkg, also for the name that the file had before /bin and /lib were merged into /usr.
func dpkgOwner(ctx context.Context, path string) (Owner, bool) {
	paths := []string{path}
	if before, ok := strings.CutPrefix(path, "/usr"); ok {
		paths = append(paths, before)
	}
	for _, p := range paths {
		out, err := ask(ctx, "dpkg-query", "--search", escapeGlob(p))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader(out))
		for lines.Scan() {
			name, of, found := strings.Cut(lines.Text(), ": ")
			if !found || of != p || strings.Contains(name, ",") || strings.Contains(name, " ") {
				continue // a diversion, or a file of several packages
			}
			version, err := ask(ctx, "dpkg-query", "--show", "--showformat=${Version}", "--", name)
			if err != nil {
				continue
			}
			return Owner{"dpkg", name, strings.TrimSpace(string(version))}, true
		}
	}
	return Owner{}, false
}

// escapeGlob keeps dpkg-query from taking a path for a pattern.
func escapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

func rpmOwner(ctx context.Context, path string) (Owner, bool) {
	out, err := ask(ctx, "rpm", "--query", "--file", "--queryformat", "%{NAME}\t%{VERSION}-%{RELEASE}\n", "--", path)
	if err != nil {
		return Owner{}, false
	}
	line, rest, _ := strings.Cut(string(out), "\n")
	name, version, ok := strings.Cut(line, "\t")
	return Owner{"rpm", name, version}, ok && strings.TrimSpace(rest) == ""
}

// pathOwner knows snaps and flatpaks by the folders that only they write to.
func pathOwner(_ context.Context, path string) (Owner, bool) {
	for _, p := range []struct{ prefix, manager, end string }{
		{"/snap/", "snap", "/"}, {"/var/lib/snapd/snaps/", "snap", "_"}, {"/var/lib/flatpak/app/", "flatpak", "/"},
	} {
		if rest, ok := strings.CutPrefix(path, p.prefix); ok {
			if name, _, ok := strings.Cut(rest, p.end); ok {
				return Owner{Manager: p.manager, Package: name}, true
			}
		}
	}
	return Owner{}, false
}

// ask runs a command that only tells, without a shell.
func ask(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd.Output()
}

// Remove removes a package through its manager: recorded first, with what brings it back. See Check for whether
// the file is still the one that was judged.
func (s *Store) Remove(ctx context.Context, o Owner, t Target) error {
	if err := s.CheckHoldOf(ctx, t.Owner); err != nil {
		return err
	}
	words := o.Command()
	if words == nil || !packageName.MatchString(o.Package) {
		return fmt.Errorf("remove: no way to remove %s %q", o.Manager, o.Package)
	}
	if s.opts.Recorder != nil {
		now := s.opts.Now()
		e := &event.Event{ID: event.NewID(), Kind: event.Act, Phase: "program.remove", Time: now, Received: now, Connector: "quarantine",
			Host: s.opts.Host, From: s.opts.Account, Content: event.Content{
				Act: &event.ActDetail{Action: "program.remove", Object: o.Manager + ":" + o.Package, Details: []event.Fact{
					{Name: "command", Value: strings.Join(words, " ")}, {Name: "undo", Value: o.Undo()}, {Name: "reason", Value: t.Reason},
				}},
				Program: &event.Program{Path: t.Path, App: t.App, SHA256: t.SHA256, Size: t.Size},
			}}
		if err := s.opts.Recorder.Record(ctx, e); err != nil {
			return fmt.Errorf("remove: record: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("remove: %s: %w", strings.Join(words, " "), errors.Join(err, lastLine(out)))
	}
	return nil
}

func lastLine(out []byte) error {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return nil
}
