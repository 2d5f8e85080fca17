package quarantine

import (
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
	Manager string // dpkg, rpm, snap or flatpak; on Windows MSI or Installer
	Package string // on Windows the product code, or what the registry calls it
	Version string
	Title   string // on Windows, for people
}

// Dpkg is the manager of whose packages copies are kept.
const Dpkg = "dpkg"

// What manages programs on Windows: Windows Installer, and installers of all kinds that leave a command in the registry.
const (
	MSI       = "msi"
	Installer = "installer"
)

// Command returns the command that removes the package, as its words.
func (o Owner) Command() []string {
	switch o.Manager {
	case Dpkg:
		return []string{"dpkg", "--remove", o.Package}
	case "rpm":
		return []string{"rpm", "--erase", o.Package}
	case "snap":
		return []string{"snap", "remove", o.Package}
	case "flatpak":
		return []string{"flatpak", "uninstall", "--system", "--assumeyes", o.Package}
	default:
		return installedCommand(o)
	}
}

// Undo returns what brings the package back, in words for people and for the record. Dir is the quarantine.
func (o Owner) Undo(dir string) string {
	switch o.Manager {
	case Dpkg:
		return "dpkg --install " + o.Kept(dir)
	case "rpm":
		return "dnf install " + o.Package + "-" + o.Version
	case MSI, Installer:
		return "the setup program of " + o.Title + " " + o.Version
	default:
		return o.Manager + " install " + o.Package
	}
}

// packageName is what a package may be called: nothing that a package manager could take for an option.
var packageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._:-]{0,127}$`)

// OwnerOf asks the package managers of this machine whose file path is. ok is false when no package owns it.
func OwnerOf(ctx context.Context, path string) (o Owner, ok bool) {
	for _, ask := range managers() {
		if o, ok := ask(ctx, path); ok && o.named() {
			return o, true
		}
	}
	return Owner{}, false
}

// named reports whether the package may be called what it is.
func (o *Owner) named() bool {
	if o.Manager == Installer {
		return o.Package != ""
	}
	return packageName.MatchString(o.Package)
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
	if words == nil || !o.named() {
		return fmt.Errorf("remove: no way to remove %s %q", o.Manager, o.Package)
	}
	if err := s.keep(ctx, o); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	if s.opts.Recorder != nil {
		now := s.opts.Now()
		e := &event.Event{ID: event.NewID(), Kind: event.Act, Phase: "program.remove", Time: now, Received: now, Connector: "quarantine",
			Host: s.opts.Host, From: s.opts.Account, Content: event.Content{
				Act: &event.ActDetail{Action: "program.remove", Object: o.Manager + ":" + o.Package, Details: []event.Fact{
					{Name: "command", Value: strings.Join(words, " ")}, {Name: "undo", Value: o.Undo(s.path)}, {Name: "reason", Value: t.Reason},
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
	if o.Manager == MSI || o.Manager == Installer { // installers say that all is well, and go on elsewhere or wait for the next start
		if _, err := os.Lstat(t.Path); err == nil {
			return fmt.Errorf("remove: %s ended, and the file is still there: --quarantine moves it away", words[0])
		}
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
