package scanned

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Named are files that somebody who looked at them named by their exact SHA-256, and by what: identity-grade, whatever else is known of them.
type Named map[string]string

// NewNamed takes hashes of the command line, and those of the rules of a policy that stop what they name.
func NewNamed(hashes []string, f *policy.File) (Named, error) {
	n := Named{}
	for i := range f.Rules {
		r := &f.Rules[i]
		if !event.Action(r.Verdict).Stops() {
			continue
		}
		for _, h := range r.Programs.SHA256 {
			n.add(h, "named by its hash in rule "+r.ID)
		}
	}
	for _, h := range hashes {
		if !isHash(h) {
			return nil, fmt.Errorf("%q is not a SHA-256: 64 hexadecimal digits, as sha256sum prints", h)
		}
		n.add(h, "named by its hash on the command line")
	}
	return n, nil
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}

func (n Named) add(hash, why string) {
	hash = strings.ToLower(hash)
	if n[hash] == "" {
		n[hash] = why
	}
}

// Approve takes over what people approved in a plan.
func (n Named) Approve(p *Plan) {
	for i := range p.Acts {
		if a := &p.Acts[i]; a.ApprovedBy != "" {
			n.add(a.Planned.SHA256, "approved in the plan by "+a.ApprovedBy)
		}
	}
}

// why tells by what the file of a finding, or what was found in it, is named; "" when it is not.
func (n Named) why(f *scan.Finding) string {
	if w := n[f.File.SHA256]; w != "" && f.File.SHA256 != "" {
		return w
	}
	if f.Event.Program.SHA256 == "" {
		return ""
	}
	return n[f.Event.Program.SHA256]
}

// rank is how good a reason a finding is to take its file away.
func (n Named) rank(f *scan.Finding) int {
	switch {
	case f.Event.Program.Form == scan.History:
		return 0
	case n.why(f) != "":
		return 4
	case f.Identity():
		return 3
	case f.Certain():
		return 2
	}
	return 1
}

// MaxActs bounds the files that one run acts on.
const MaxActs = 100_000

// Add keeps one finding for each file, of what a scan reports in order: the best reason to take it away, of equal ones the first.
func (n Named) Add(forbidden []*scan.Finding, f *scan.Finding) []*scan.Finding {
	last := len(forbidden) - 1
	switch {
	case last >= 0 && forbidden[last].Real == f.Real:
		if n.rank(f) > n.rank(forbidden[last]) {
			forbidden[last] = f
		}
	case len(forbidden) < MaxActs:
		forbidden = append(forbidden, f)
	}
	return forbidden
}

// Unsure says why a file is left alone by all.
func Unsure(f *scan.Finding) string {
	return fmt.Sprintf("left alone: confidence %.2f is below %.2f; %s", f.Event.Program.Confidence.Float(), scan.ActFrom.Float(), toName(f))
}

// unproven says why a file is left alone by --remove. owner is the package that it belongs to, if any.
func unproven(f *scan.Finding, owner string) string {
	facts := make([]string, 0, 3)
	for _, e := range f.Event.Evidence[:min(len(f.Event.Evidence), 3)] {
		facts = append(facts, fmt.Sprintf("%s %.2f", e.Fact, e.Strength.Float()))
	}
	if n := len(f.Event.Evidence) - len(facts); n > 0 {
		facts = append(facts, fmt.Sprintf("%d more", n))
	}
	belongs := ""
	if owner != "" {
		belongs = "it belongs to package " + owner + ", and "
	}
	return fmt.Sprintf("left alone by --remove: %snothing identifies the messenger for itself (%s); --quarantine moves the file away; %s",
		belongs, strings.Join(slices.Clip(facts), ", "), toName(f))
}

// toName says how whoever looked at a file names it.
func toName(f *scan.Finding) string {
	hash := f.File.SHA256
	if hash == "" {
		hash = f.Event.Program.SHA256
	}
	if hash == "" {
		return "look at it"
	}
	return "if you looked at it, --sha256 " + hash + " names it, or a name in approved_by of a plan"
}
