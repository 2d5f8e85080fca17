package santa

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/santa"
)

// ruleSet is what one machine is to have.
type ruleSet struct {
	digest    string
	policy    string // version
	rules     []santa.Rule
	removable bool
}

// nothing is the rule of an empty set: a machine that begins clean keeps its old rules unless it gets at least one, and this removes what is
// not there.
func nothing() santa.Rule {
	return santa.Rule{Identifier: strings.Repeat("0", 2*sha256.Size), RuleType: "BINARY", Policy: "REMOVE"}
}

// rulesFor returns the rules of a machine at a moment. A policy that only watches gives none: a rule of Santa blocks in every mode.
func (s *Server) rulesFor(host event.Host, now time.Time) (*ruleSet, error) {
	p, c, err := s.deps.Rules(host)
	if err != nil {
		return nil, err
	}
	subject := export.Subject{Host: host.Name, Person: host.Person, Groups: identity.GroupsOf(s.deps.Directory, host.Person), Asked: true}
	plan := export.Make(p, c, export.Options{Subject: subject, Now: now})
	out := &ruleSet{policy: plan.Policy}
	if !plan.Audit {
		set, _ := santa.Rules(plan)
		out.rules = set.Rules
		out.removable = plan.Removable != nil
	}
	slices.SortFunc(out.rules, func(a, b santa.Rule) int {
		if n := strings.Compare(a.RuleType, b.RuleType); n != 0 {
			return n
		}
		return strings.Compare(a.Identifier, b.Identifier)
	})
	if len(out.rules) == 0 {
		out.rules = []santa.Rule{nothing()}
	}
	text, err := json.Marshal(out.rules)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	out.digest = hex.EncodeToString(sum[:])[:32]
	return out, nil
}

// page returns the rules from a cursor on, and the cursor of the next page. A cursor names its set: of another set there are no pages.
func (r *ruleSet) page(cursor string) (rules []santa.Rule, next string, ok bool) {
	from := 0
	if cursor != "" {
		digest, at, found := strings.Cut(cursor, ":")
		n, err := strconv.Atoi(at)
		if !found || digest != r.digest || err != nil || n <= 0 || n >= len(r.rules) {
			return nil, "", false
		}
		from = n
	}
	to := min(len(r.rules), from+pageSize)
	if to < len(r.rules) {
		next = r.digest + ":" + strconv.Itoa(to)
	}
	return r.rules[from:to], next, true
}
