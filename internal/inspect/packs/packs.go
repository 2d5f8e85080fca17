// Package packs holds the shipped lexicons and patterns, and builds the text inspectors of a policy from them and from the policy's own.
//
// A pack is one YAML file with its tests. {app} in a venue lexicon stands for the name of every messenger in the catalog.
package packs

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
)

//go:embed *.yaml
var files embed.FS

// ErrUnknown says that there is no pack of that name.
var ErrUnknown = errors.New("unknown pack")

// Pack is a shipped set of lexicons and patterns.
type Pack struct {
	Name     string             `yaml:"name"`
	Version  int                `yaml:"version"`
	Patterns map[string]Pattern `yaml:"patterns"`
	Lexicons map[string]Lexicon `yaml:"lexicons"`
	Tests    []Test             `yaml:"tests"`
}

// Pattern is a pattern of a pack.
type Pattern struct {
	Regex string `yaml:"regex"`
	Check string `yaml:"check"`
}

// Lexicon is a lexicon of a pack.
type Lexicon struct {
	Words []string `yaml:"words"`
	Near  []Near   `yaml:"near"`
}

// Near is a near of a lexicon.
type Near struct {
	Terms  []string `yaml:"terms"`
	Within int      `yaml:"within"`
}

// Test is a text and the names of exactly the hits it must give with this pack alone.
type Test struct {
	Text string   `yaml:"text"`
	Hits []string `yaml:"hits"`
}

// Names lists the shipped packs.
func Names() []string { return []string{"pii", "secrets", "venue"} }

// Load reads a shipped pack.
func Load(name string) (*Pack, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("%w %q: one of %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	data, err := files.ReadFile(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", name, err)
	}
	var p Pack
	if err := yaml.UnmarshalWithOptions(data, &p, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("pack %s: %w", name, err)
	}
	return &p, nil
}

// Sources is what the text inspectors of a policy are built from.
type Sources struct {
	Packs    []string          // names of shipped packs
	Patterns []pattern.Pattern // the policy's own
	Lexicons []lexicon.Lexicon // the policy's own
	Apps     []string          // names of messengers, for {app}
}

// Set is what Build made.
type Set struct {
	Inspectors []inspect.Inspector
	Hits       []string // names that hits can have, sorted
	Version    string   // of all that is looked for
}

// Build builds the text inspectors.
func Build(s Sources) (*Set, error) {
	patterns, lexicons := slices.Clone(s.Patterns), slices.Clone(s.Lexicons)
	for _, name := range s.Packs {
		p, err := Load(name)
		if err != nil {
			return nil, err
		}
		for _, n := range sorted(p.Patterns) {
			patterns = append(patterns, pattern.Pattern{Name: n, Regex: p.Patterns[n].Regex, Check: p.Patterns[n].Check})
		}
		for _, n := range sorted(p.Lexicons) {
			lexicons = append(lexicons, p.Lexicons[n].expand(n, s.Apps))
		}
	}
	set := &Set{}
	for _, p := range patterns {
		set.Hits = append(set.Hits, p.Name)
	}
	for _, l := range lexicons {
		set.Hits = append(set.Hits, l.Name)
	}
	slices.Sort(set.Hits)
	for i := 1; i < len(set.Hits); i++ {
		if set.Hits[i] == set.Hits[i-1] {
			return nil, fmt.Errorf("the name %q is used twice among packs, patterns and lexicons", set.Hits[i])
		}
	}
	words, err := lexicon.New(lexicons)
	if err != nil {
		return nil, err
	}
	forms, err := pattern.New(patterns)
	if err != nil {
		return nil, err
	}
	set.Inspectors = []inspect.Inspector{words, forms}
	sum := sha256.Sum256([]byte(words.Version() + forms.Version()))
	set.Version = hex.EncodeToString(sum[:])[:12]
	return set, nil
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// wellKnown are names people use for messengers and other ways out, beside those in the catalog.
var wellKnown = []string{"WhatsApp", "Signal", "Telegram", "WeChat", "iMessage", "FaceTime", "Snapchat", "Discord", "Viber", "Skype", "Messenger",
	"Instagram", "Threema", "Wickr", "KakaoTalk", "text message", "SMS", "Gmail", "WA", "TG"}

// everyday are names of messengers that are also everyday words, or names of what a firm may well use: only "on Signal" tells.
var everyday = []string{"signal", "line", "wire", "session", "element", "teams", "zoom", "slack", "messenger", "wa", "tg", "sms", "text message",
	"gmail", "imo", "tox", "jami", "webex", "meet", "mumble", "discord", "irc", "matrix", "xmpp", "instagram"}

// approvedKinds are names that are no way out by themselves.
var approvedKinds = []string{"xmpp", "irc", "xmpp clients", "irc clients"}

// expand puts the names of messengers into a lexicon: {app} every name, {distinct} those that are no everyday word.
func (l Lexicon) expand(name string, apps []string) lexicon.Lexicon {
	var all, distinct []string
	for _, app := range append(slices.Clone(wellKnown), apps...) {
		lower := strings.ToLower(app)
		if slices.Contains(approvedKinds, lower) || slices.ContainsFunc(all, func(s string) bool { return strings.EqualFold(s, app) }) {
			continue
		}
		all = append(all, app)
		if !slices.Contains(everyday, lower) {
			distinct = append(distinct, app)
		}
	}
	out := lexicon.Lexicon{Name: name}
	for _, w := range l.Words {
		out.Words = append(out.Words, strings.Split(expandTerm(w, all, distinct), "|")...)
	}
	for _, n := range l.Near {
		near := lexicon.Near{Within: n.Within}
		for _, term := range n.Terms {
			near.Terms = append(near.Terms, expandTerm(term, all, distinct))
		}
		out.Near = append(out.Near, near)
	}
	return out
}

func expandTerm(term string, all, distinct []string) string {
	var out []string
	for alternative := range strings.SplitSeq(term, "|") {
		switch {
		case strings.Contains(alternative, "{app}"):
			for _, app := range all {
				out = append(out, strings.ReplaceAll(alternative, "{app}", app))
			}
		case strings.Contains(alternative, "{distinct}"):
			for _, app := range distinct {
				out = append(out, strings.ReplaceAll(alternative, "{distinct}", app))
			}
		default:
			out = append(out, alternative)
		}
	}
	return strings.Join(out, "|")
}
