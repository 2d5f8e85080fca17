// Package santa writes a plan as rules of Santa, the binary authorization system of macOS (its "Rules" and "Sync Protocol" pages, v1).
package santa

import (
	"fmt"
	"io"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// Format is the entry of this format.
func Format() export.Format {
	return export.Format{Name: "santa", About: "rules of Santa (macOS): santactl rule --import FILE, or the answer of a sync server's ruledownload", Holds: export.Holds{Programs: true}, Write: Write, Rules: Fires}
}

// Rule is a rule as Santa's sync protocol has it.
type Rule struct {
	Identifier string `json:"identifier"`
	RuleType   string `json:"rule_type"` // BINARY, SIGNINGID or TEAMID
	Policy     string `json:"policy"`    // ALLOWLIST or BLOCKLIST
	CustomMsg  string `json:"custom_msg,omitempty"`
}

// RuleSet is what a sync server answers, and what santactl imports.
type RuleSet struct {
	Rules []Rule `json:"rules"`
}

// Write writes the rules as JSON. Santa takes the most precise rule first (BINARY, then SIGNINGID, then TEAMID), so their order says nothing.
func Write(w io.Writer, p *export.Plan) (left []string, err error) {
	if p.Audit {
		return nil, export.ErrWatched // a rule that blocks does so in Santa's monitor mode too
	}
	set, left := Rules(p)
	return left, export.WriteJSON(w, set)
}

// Rules returns the rules, and what they leave out.
func Rules(p *export.Plan) (RuleSet, []string) {
	set, _, left := rules(p)
	return set, left
}

// Fires returns the rules that block as Santa's log tells them: by kind and identifier.
func Fires(p *export.Plan) []export.Rule {
	_, out, _ := rules(p)
	return out
}

func rules(p *export.Plan) (RuleSet, []export.Rule, []string) {
	set := RuleSet{Rules: []Rule{}}
	var fires []export.Rule
	hashes, left := export.HashesOf(p, "macOS", "macho")
	left = append(left, export.Unknown(p, "macOS", func(a *export.App) bool { return len(a.Programs.MacOS) > 0 })...)
	seen := map[string]bool{}
	var of export.Rule // what a rule is made for
	add := func(r Rule) {
		key := r.RuleType + ":" + r.Identifier
		if seen[key] {
			return
		}
		seen[key] = true
		set.Rules = append(set.Rules, r)
		if of.Key = key; r.Policy == "BLOCKLIST" {
			fires = append(fires, of)
		}
	}
	for _, h := range hashes {
		r := Rule{h.SHA256, "BINARY", "BLOCKLIST", h.Say}
		if h.Allow {
			r.Policy, r.CustomMsg = "ALLOWLIST", ""
		}
		of = export.Rule{App: h.App, Policy: h.Rule}
		add(r)
	}
	for i := range p.Apps {
		of = export.Rule{App: p.Apps[i].ID, Policy: p.Apps[i].Rule}
		for _, m := range p.Apps[i].Programs.MacOS {
			switch say := p.Apps[i].Say; {
			case m.Team == "":
				left = append(left, fmt.Sprintf("%s: the catalog knows no team of %s", p.Apps[i].ID, m.Bundle))
			case m.SharedTeam && m.Bundle == "":
				left = append(left, fmt.Sprintf("%s: its team %s makes other programs too", p.Apps[i].ID, m.Team))
			case m.SharedTeam:
				add(Rule{m.Team + ":" + m.Bundle, "SIGNINGID", "BLOCKLIST", say})
			default:
				add(Rule{m.Team, "TEAMID", "BLOCKLIST", say})
			}
		}
	}
	if p.Removable != nil {
		left = append(left, "removable media: Santa has a setting of its own for them (BlockUSBMount)")
	}
	return set, fires, left
}
