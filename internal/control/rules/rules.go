// Package rules loads a policy with all it refers to: the catalog, the shipped packs, its own patterns and lexicons. What comes out decides
// and inspects by one file, and has one version.
package rules

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/filetype"
	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
	"github.com/chaperone-im/chaperone/internal/inspect/packs"
	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Set is a policy with what carries it: the catalog it names messengers by, and the inspectors of texts and file types it asks for.
type Set struct {
	Policy     *policy.Policy
	Catalog    *catalog.Catalog
	Inspectors []inspect.Inspector // lexicon, pattern and filetype; add malware where it is configured
}

// AllPacks stands for every shipped pack.
const AllPacks = "all"

// Load reads the policy file at path; an empty path is the embedded quickstart policy. A nil catalog is the embedded one. More packs than
// the file names can be asked for.
func Load(path string, c *catalog.Catalog, morePacks ...string) (*Set, error) {
	f, err := Parse(path)
	if err != nil {
		return nil, err
	}
	return Build(f, c, morePacks...)
}

// Parse reads the policy file at path; an empty path is the embedded quickstart policy.
func Parse(path string) (*policy.File, error) {
	if path == "" {
		return policy.Default()
	}
	data, err := outside.ReadFile(path, policy.MaxFileSize)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return policy.Parse(path, data)
}

// unfinished is what no gateway of this program carries out on messages: nothing releases what is held, and nothing rewrites messages.
func unfinished() []string {
	return []string{string(event.Hold), string(event.Quarantine), event.Redact}
}

// Build makes a set of a parsed file.
func Build(f *policy.File, c *catalog.Catalog, morePacks ...string) (*Set, error) {
	if c == nil {
		var err error
		if c, err = catalog.Default(); err != nil {
			return nil, fmt.Errorf("catalog: %w", err)
		}
	}
	known := policy.Known{CatalogVersion: c.Version(), Unfinished: unfinished()}
	sources := packs.Sources{Packs: append([]string(nil), f.Packs...)}
	for _, more := range morePacks {
		if more == AllPacks {
			sources.Packs = packs.Names()
			break
		}
		sources.Packs = append(sources.Packs, more)
	}
	sources.Packs = unique(sources.Packs)
	for i, name := range f.Packs {
		if !slices.Contains(packs.Names(), name) {
			return nil, f.ErrorAt(fmt.Sprintf("unknown pack %q", name), "the shipped packs are "+strings.Join(packs.Names(), ", "), "packs", i)
		}
	}
	for _, app := range c.Apps() {
		known.Apps = append(known.Apps, app.ID)
		sources.Apps = append(sources.Apps, app.Name)
	}
	for name, p := range f.Patterns {
		sources.Patterns = append(sources.Patterns, pattern.Pattern{Name: name, Regex: p.Regex, Check: p.Check})
	}
	for name, l := range f.Lexicons {
		sources.Lexicons = append(sources.Lexicons, lexiconOf(name, l))
	}
	set, err := packs.Build(sources)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	types := filetype.New()
	known.Hits = append(set.Hits, filetype.Hits()...)
	known.PacksVersion = set.Version + " " + types.Version()
	p, err := policy.Compile(f, known)
	if err != nil {
		return nil, err
	}
	return &Set{Policy: p, Catalog: c, Inspectors: append(set.Inspectors, types)}, nil
}

func unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

func lexiconOf(name string, l policy.Lexicon) lexicon.Lexicon {
	out := lexicon.Lexicon{Name: name, Words: l.Words}
	for _, n := range l.Near {
		out.Near = append(out.Near, lexicon.Near{Terms: n.Terms, Within: n.Within})
	}
	return out
}

// Runner returns a runner of the set's inspectors and of more.
func (s *Set) Runner(deadline time.Duration, more ...inspect.Inspector) *inspect.Runner {
	return inspect.New(append(append([]inspect.Inspector(nil), s.Inspectors...), more...), deadline)
}

// textDeadline is the time to inspect one text of a test or an explanation.
const textDeadline = 10 * time.Second

// Finder inspects the texts of cases, and looks names and addresses up in the catalog.
func (s *Set) Finder() policy.Finder {
	runner := s.Runner(textDeadline)
	return policy.Finder{
		Inspect: func(ctx context.Context, e *event.Event) {
			found := runner.Run(ctx, &inspect.Item{Text: e.Text})
			e.Hits = append(e.Hits, found.Hits...)
			e.NotChecked = append(e.NotChecked, found.NotInspected...)
		},
		AppOf: s.appOf,
	}
}

func (s *Set) appOf(name, address string) (app, service string, sure event.Confidence) {
	if m, ok := s.Catalog.Name(name); ok && name != "" {
		return m.App, m.Service, m.Strength
	}
	var addr netip.Addr
	if ap, err := netip.ParseAddrPort(address); err == nil {
		addr = ap.Addr()
	} else if addr, err = netip.ParseAddr(address); err != nil {
		return "", "", 0
	}
	if matches := s.Catalog.ByAddress(addr.Unmap()); len(matches) > 0 {
		return matches[0].App, matches[0].Service, matches[0].Evidence.Strength
	}
	return "", "", 0
}

// Hint returns the hint of the first policy mistake in err, or "".
func Hint(err error) string {
	var e *policy.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
