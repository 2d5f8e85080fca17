// Package formats lists the enforcers that a policy can be exported for.
package formats

import (
	"slices"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/appcontrol"
	"github.com/chaperone-im/chaperone/internal/policy/export/applocker"
	"github.com/chaperone-im/chaperone/internal/policy/export/browser"
	"github.com/chaperone-im/chaperone/internal/policy/export/clients"
	"github.com/chaperone-im/chaperone/internal/policy/export/fapolicyd"
	"github.com/chaperone-im/chaperone/internal/policy/export/santa"
	"github.com/chaperone-im/chaperone/internal/policy/export/scripts"
)

// All returns every format: a new one is a folder and an entry here.
func All() []export.Format {
	programs := []export.Format{fapolicyd.Format(), santa.Format(), applocker.Format(), appcontrol.Format()}
	return slices.Concat(programs, browser.Formats(), clients.Formats(), scripts.Formats())
}

// ByName returns a format by its name.
func ByName(name string) (export.Format, bool) {
	all := All()
	i := slices.IndexFunc(all, func(f export.Format) bool { return f.Name == name })
	if i < 0 {
		return export.Format{}, false
	}
	return all[i], true
}
