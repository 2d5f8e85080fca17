package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // hours must mean the same on every machine, also on one without a time zone database

	"github.com/google/cel-go/cel"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Known is what a policy may refer to besides itself.
type Known struct {
	Apps           []string // ids in the catalog; nil leaves apps unchecked
	CatalogVersion string
	Hits           []string // names that packs and inspectors define; those of patterns and lexicons are added
	PacksVersion   string
	Unfinished     []string // verdicts and obligations on messages that no gateway carries out: refused
}

// Compile checks a parsed file and makes a policy of it. It returns all mistakes it finds, joined; each is an *Error.
func Compile(f *File, known Known) (*Policy, error) {
	env, err := newExpressionEnv()
	if err != nil {
		return nil, fmt.Errorf("policy expressions: %w", err)
	}
	c := &compiler{f: f, known: known, env: env, groups: map[string]int{}, hits: map[string]bool{}}
	c.p = &Policy{file: f, version: versionOf(f, known), zone: time.UTC, internal: map[string]struct{}{}, adapter: env.CELTypeAdapter()}
	c.general()
	c.compileGroups()
	c.sections()
	ids := map[string]int{}
	for i := range f.Rules {
		r := &f.Rules[i]
		if r.ID == "" {
			c.fail("a rule needs an id", "add id: with a short name", "rules", i)
		} else if first, twice := ids[r.ID]; twice {
			c.fail(fmt.Sprintf("the id %q is used twice (first by rule %d)", r.ID, first+1), "ids are unique: rename one", "rules", i, "id")
		} else if r.ID == OtherwiseRule {
			c.fail("the id otherwise is taken", "rename the rule", "rules", i, "id")
		}
		ids[r.ID] = i
		c.compileRule(i, r)
	}
	if len(c.errs) > 0 {
		return nil, c.mistakes()
	}
	return c.p, nil
}

// versionOf identifies all that a verdict depends on besides its input.
func versionOf(f *File, known Known) string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(EngineVersion), f.source, []byte(known.PacksVersion), []byte(known.CatalogVersion)} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

type compiler struct {
	f      *File
	p      *Policy
	known  Known
	env    *cel.Env
	groups map[string]int
	hits   map[string]bool
	errs   []*Error
}

// maxErrors bounds the list of mistakes.
const maxErrors = 50

func (c *compiler) fail(msg, hint string, path ...any) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, c.f.ErrorAt(msg, hint, path...))
	}
}

// mistakes joins what was found, each once, in the order of the file.
func (c *compiler) mistakes() error {
	slices.SortStableFunc(c.errs, func(a, b *Error) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	var out []error
	for i, e := range c.errs {
		if i == 0 || *e != *c.errs[i-1] {
			out = append(out, e)
		}
	}
	return errors.Join(out...)
}

// general compiles all that is not a rule.
func (c *compiler) general() {
	if c.f.Timezone != "" {
		zone, err := time.LoadLocation(c.f.Timezone)
		if err != nil || c.f.Timezone == "Local" {
			c.fail(fmt.Sprintf("unknown time zone %q", c.f.Timezone), "use an IANA name such as Europe/Zurich", "timezone")
		} else {
			c.p.zone = zone
		}
	}
	for _, s := range c.f.Internal {
		c.p.internal[strings.ToLower(strings.TrimPrefix(s, "*."))] = struct{}{}
	}
	for pl, s := range [planeCount]string{c.f.Mode.Network, c.f.Mode.Programs, c.f.Mode.Messages} {
		c.p.modes[pl] = c.mode(s, "mode", plane(pl).String())
		if c.p.modes[pl] == unset {
			c.p.modes[pl] = enforce
		}
	}
	o := c.f.Otherwise
	for pl, s := range [planeCount]string{o.Network, o.Programs, o.Messages} {
		c.p.otherwise[pl] = c.otherwise(s, [planeCount]event.Action{event.Block, event.Allow, event.Allow}[pl], plane(pl), plane(pl).String())
	}
	c.p.notInspected = c.otherwise(o.NotInspected, event.Block, conversation, "not_inspected")
}

func (c *compiler) otherwise(s string, absent event.Action, pl plane, key string) event.Action {
	if s == "" {
		return absent
	}
	if pl == conversation && c.unfinished(s) {
		c.fail(fmt.Sprintf("otherwise: %s cannot be %q: %s", key, s, notCarried), insteadHint, "otherwise", key)
	} else if !carries(pl, event.Action(s)) {
		c.fail(fmt.Sprintf("otherwise: %s cannot be %q", key, s), "one of "+strings.Join(carried(pl), ", "), "otherwise", key)
	}
	return event.Action(s)
}

func (c *compiler) mode(s string, path ...any) mode {
	switch s {
	case "":
		return unset
	case "monitor":
		return monitor
	case "enforce":
		return enforce
	}
	c.fail(fmt.Sprintf("unknown mode %q", s), "monitor or enforce", path...)
	return unset
}

func (c *compiler) compileGroups() {
	for _, name := range sortedKeys(c.f.Groups) {
		g := c.f.Groups[name]
		out := group{name: name, people: newGlobs(g.People), hosts: newGlobs(g.Hosts), mode: c.mode(g.Mode, "groups", name, "mode")}
		for i, s := range g.Networks {
			prefix, ok := newPrefix(s)
			if !ok {
				c.fail(fmt.Sprintf("%q is not an address range", s), "such as 10.0.0.0/8", "groups", name, "networks", i)
			}
			out.networks = append(out.networks, prefix)
		}
		c.groups[name] = len(c.p.groups)
		if out.mode != unset {
			c.p.moded = append(c.p.moded, len(c.p.groups))
		}
		c.p.groups = append(c.p.groups, out)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// sections checks the parts that others carry out.
func (c *compiler) sections() {
	for _, h := range c.known.Hits {
		c.hits[h] = true
	}
	c.patterns()
	c.lexicons()
	c.retention()
	c.clients()
}

func (c *compiler) patterns() {
	for _, name := range sortedKeys(c.f.Patterns) {
		c.hits[name] = true
		p := c.f.Patterns[name]
		if !slices.Contains([]string{"", "none", "luhn", "card", "iban", "ssn"}, p.Check) {
			c.fail(fmt.Sprintf("unknown check %q", p.Check), "none, luhn, card, iban or ssn", "patterns", name, "check")
		}
		if p.Regex == "" && !slices.Contains([]string{"card", "iban", "ssn"}, p.Check) {
			c.fail(fmt.Sprintf("pattern %s has no regex", name), "only the checks card, iban and ssn find by themselves", "patterns", name)
		}
		if _, err := regexp.Compile(p.Regex); err != nil {
			c.fail(err.Error(), "the syntax is RE2: no look-around, no back references", "patterns", name, "regex")
		}
	}
}

func (c *compiler) lexicons() {
	for _, name := range sortedKeys(c.f.Lexicons) {
		c.hits[name] = true
		l := c.f.Lexicons[name]
		if len(l.Words)+len(l.Near) == 0 {
			c.fail(fmt.Sprintf("lexicon %s is empty", name), "give it words or near", "lexicons", name)
		}
		for i, n := range l.Near {
			if len(n.Terms) < 2 || n.Within < 1 || n.Within > 100 {
				c.fail("near needs two terms or more and within from 1 to 100", "", "lexicons", name, "near", i)
			}
		}
	}
}

func (c *compiler) retention() {
	seen := map[string]bool{}
	for i, r := range c.f.Retention {
		if r.ID == "" || seen[r.ID] || r.Days < 1 {
			c.fail("a retention class needs an id of its own and days", "", "retention", i)
		}
		seen[r.ID] = true
		if r.Erasable != "no" && r.Erasable != "request" && r.Erasable != "" {
			c.fail(fmt.Sprintf("erasable cannot be %q", r.Erasable), "no or request", "retention", i, "erasable")
		}
		c.groupIndexes(r.Groups, "retention", i, "groups")
	}
}

func (c *compiler) groupIndexes(names List, path ...any) []int {
	var out []int
	for _, name := range names {
		i, ok := c.groups[name]
		if !ok {
			c.fail(fmt.Sprintf("unknown group %q", name), didYouMean(name, sortedKeys(c.groups)), path...)
			continue
		}
		out = append(out, i)
	}
	return out
}
