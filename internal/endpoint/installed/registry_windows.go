package installed

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
)

const (
	uninstall   = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`
	maxPrograms = 20_000
)

// List returns the programs of this machine.
func List() ([]Program, error) {
	var out []Program
	var errs []error
	for _, view := range []uint32{registry.WOW64_64KEY, registry.WOW64_32KEY} {
		found, err := list(view)
		out, errs = append(out, found...), append(errs, err)
	}
	return out, errors.Join(errs...)
}

func list(view uint32) ([]Program, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, uninstall, registry.READ|view)
	if errors.Is(err, registry.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("installed programs: %w", err)
	}
	defer k.Close()
	names, err := k.ReadSubKeyNames(-1)
	if err != nil {
		return nil, fmt.Errorf("installed programs: %w", err)
	}
	var out []Program
	for _, name := range names[:min(len(names), maxPrograms)] {
		if p, ok := read(k, name, view); ok && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func read(above registry.Key, name string, view uint32) (Program, bool) {
	k, err := registry.OpenKey(above, name, registry.READ|view)
	if err != nil {
		return Program{}, false
	}
	defer k.Close()
	text := func(value string) string {
		s, kind, err := k.GetStringValue(value)
		if err != nil || len(s) > 4096 {
			return ""
		}
		if kind == registry.EXPAND_SZ {
			if s, err = registry.ExpandString(s); err != nil {
				return ""
			}
		}
		return s
	}
	byWindows, _, err := k.GetIntegerValue("WindowsInstaller")
	return Program{Key: name, Title: text("DisplayName"), Version: text("DisplayVersion"), Location: text("InstallLocation"), Icon: text("DisplayIcon"),
		Quiet: text("QuietUninstallString"), ByWindows: err == nil && byWindows == 1}, true
}

// Words returns the command that removes a program of this machine.
func (p *Program) Words() ([]string, error) {
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return nil, err
	}
	return p.Command(system, windows.DecomposeCommandLine, handle.Guarded)
}
