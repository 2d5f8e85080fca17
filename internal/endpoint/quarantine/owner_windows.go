package quarantine

import (
	"context"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/installed"
)

// managers: one register tells it all.
func managers() []func(context.Context, string) (Owner, bool) {
	return []func(context.Context, string) (Owner, bool){installedOwner}
}

// installedOwner finds the program in whose folder a file lies, when its command may be run. Else the file is one that nobody owns.
func installedOwner(_ context.Context, path string) (Owner, bool) {
	all, err := installed.List()
	if err != nil {
		return Owner{}, false
	}
	p, ok := installed.Owning(path, all)
	if !ok {
		return Owner{}, false
	}
	if _, err := p.Words(); err != nil {
		return Owner{}, false
	}
	o := Owner{Manager: Installer, Package: p.Key, Version: p.Version, Title: p.Title}
	if code := p.Product(); code != "" {
		o.Manager, o.Package = MSI, code
	}
	return o, true
}

// installedCommand asks the register again, and checks again what it says.
func installedCommand(o Owner) []string {
	all, err := installed.List()
	if err != nil {
		return nil
	}
	for i := range all {
		p := &all[i]
		if o.Manager == MSI && strings.EqualFold(p.Product(), o.Package) || o.Manager == Installer && p.Product() == "" && p.Key == o.Package {
			if words, err := p.Words(); err == nil {
				return words
			}
		}
	}
	return nil
}
