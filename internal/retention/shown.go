package retention

import (
	"fmt"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Shown returns holds as a reader sees them: under the veil nobody is named, in no word of theirs.
func Shown(v *archive.View, holds []Hold) []Hold {
	out := slices.Clone(holds)
	for i := range out {
		h := &out[i]
		switch h.Scope.Kind {
		case Person:
			h.Scope.Name = v.Shown(pseudonym.OfPerson(h.Scope.Name), h.Scope.Name)
		case Host:
			h.Scope.Name = v.Shown(pseudonym.OfHost(h.Scope.Name), h.Scope.Name)
		}
		h.Matter, h.Reason = v.Text(h.Matter), v.Text(h.Reason)
	}
	return out
}

// Matter returns the name of the matter that somebody wrote, as it is or as it is shown to them. Of two that are shown alike it is neither.
func (h *Holds) Matter(written string, shown func(string) string) (string, error) {
	var alike []string
	for _, x := range h.List() {
		if same(x.Matter, written) {
			return x.Matter, nil
		}
		if !slices.Contains(alike, x.Matter) && same(shown(x.Matter), written) {
			alike = append(alike, x.Matter)
		}
	}
	switch len(alike) {
	case 0:
		return "", fmt.Errorf("%w: %q", ErrNoMatter, written)
	case 1:
		return alike[0], nil
	}
	return "", fmt.Errorf("%d matters are shown as %q: write the name of the one you mean", len(alike), written)
}

// Coverage is a Preview in one line of JSON.
type Coverage struct {
	Total   int                `json:"total"`
	Records map[event.Kind]int `json:"records"`
	Files   int                `json:"files"`
	First   *time.Time         `json:"first,omitempty"`
	Last    *time.Time         `json:"last,omitempty"`
	Partly  bool               `json:"partly"` // there are more records than were looked at
}

// Coverage returns what a preview found, to be printed.
func (p Preview) Coverage() Coverage {
	c := Coverage{Total: p.Total(), Records: p.Records, Files: p.Files, Partly: p.Partly}
	if !p.Last.IsZero() {
		c.First, c.Last = &p.First, &p.Last
	}
	return c
}
