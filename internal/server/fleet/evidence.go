package fleet

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// LeftFile is a file of a plan that stays where it is, until somebody who looked at it names it by its content in another plan.
type LeftFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Why    string `json:"why"`
}

// Why a file stays.
const (
	BelowIdentity = "not removed: evidence below identity grade" // a fact is strong, and none identifies the messenger for itself
	NotSure       = "not removed: not known surely enough"
	Later         = "not removed: more files than one campaign takes from one machine; plan another after it"
)

// maxNamedFiles bounds the files that a campaign names by their content.
const maxNamedFiles = 100

// checkNamed brings the named files into one form.
func (x *Campaign) checkNamed() error {
	if len(x.SHA256) > maxNamedFiles {
		return fmt.Errorf("a campaign names %d files at most", maxNamedFiles)
	}
	named := make([]string, 0, len(x.SHA256))
	for _, sum := range x.SHA256 {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 {
			return fmt.Errorf("%.80q is no SHA-256: 64 hexadecimal digits", sum)
		}
		named = append(named, strings.ToLower(sum))
	}
	slices.Sort(named)
	x.SHA256 = slices.Compact(named)
	return nil
}

// take takes up what was found on a host: to be taken away where the evidence identifies the messenger, or somebody who looked at the file named it,
// as with scan --remove; else it is told and left.
func (p *PlanHost) take(prog protocol.Program, named bool) {
	same := func(path string) bool { return path == prog.Path }
	if prog.Certain && prog.Identity || named {
		item := protocol.OrderItem{Path: prog.Path, SHA256: prog.SHA256, App: prog.App, Rule: prog.Rule, Identity: prog.Certain && prog.Identity, Named: named}
		if slices.ContainsFunc(p.Items, func(o protocol.OrderItem) bool { return same(o.Path) }) {
			return
		}
		if size := p.size + sizeOf([]protocol.OrderItem{item}); len(p.Items) < protocol.MaxOutcomes && size <= orderedBytes {
			p.Items, p.size = append(p.Items, item), size
			return
		}
	}
	why := BelowIdentity
	switch {
	case prog.Certain && prog.Identity || named:
		why = Later
	case !prog.Certain:
		why = NotSure
	}
	if len(p.Left) < protocol.MaxOutcomes && !slices.ContainsFunc(p.Left, func(l LeftFile) bool { return same(l.Path) }) {
		p.Left = append(p.Left, LeftFile{Path: prog.Path, SHA256: prog.SHA256, Why: why})
	}
}

// settle takes from the files that stay those that go for something else that was found in them.
func (p *PlanHost) settle() {
	p.Left = slices.DeleteFunc(p.Left, func(l LeftFile) bool {
		return slices.ContainsFunc(p.Items, func(o protocol.OrderItem) bool { return o.Path == l.Path })
	})
	for _, l := range p.Left {
		if l.Why == NotSure {
			p.Unsure++
		}
	}
}
