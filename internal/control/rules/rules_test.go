package rules_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/policy"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestProfiles loads every quickstart profile and runs its cases.
func TestProfiles(t *testing.T) {
	retention := map[string]string{"plain": "default", "us-broker-dealer": "default", "uk-eu": "relevant-communications", "works-council": "default"}
	for _, name := range policy.Profiles() {
		text, err := policy.Quickstart(name, "bank.example", "corp.example")
		if err != nil {
			t.Fatal(err)
		}
		set, err := rules.Load(write(t, string(text)), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		failures, count := set.Policy.RunTests(t.Context(), set.Finder())
		if len(failures) > 0 || count < 10 {
			t.Errorf("%s: %d cases, %v", name, count, failures)
		}
		if !slices.Equal(set.Policy.File().Internal, []string{"bank.example", "corp.example"}) {
			t.Errorf("%s: internal %v", name, set.Policy.File().Internal)
		}
		if !slices.ContainsFunc(set.Policy.File().Retention, func(r policy.Retention) bool { return r.ID == retention[name] }) {
			t.Errorf("%s: retention %v", name, set.Policy.File().Retention)
		}
	}
	if _, err := policy.Quickstart("moon"); err == nil {
		t.Error("an unknown profile is accepted")
	}
}

func TestDefault(t *testing.T) {
	set, err := rules.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	var hits []string
	r := set.Runner(2 * time.Minute)
	for _, text := range []string{"let's move this to WhatsApp", "4111 1111 1111 1111"} {
		for _, h := range r.Run(context.Background(), &inspect.Item{Text: text}).Hits {
			hits = append(hits, h.Name)
		}
	}
	if !slices.Equal(hits, []string{"change-of-venue", "payment-card"}) {
		t.Errorf("hits %v", hits)
	}
}

func TestOwnPatternsAndLexicons(t *testing.T) {
	path := write(t, `version: 1
packs: [pii]
patterns: {project-code: {regex: 'PRJ-[0-9]{6}', check: none}}
lexicons: {collusion: {words: ["between us"], near: [{terms: [take, offline], within: 3}]}}
rules:
  - {id: project, messages: 'hits.exists(h, h.name == "project-code")', verdict: block}
  - {id: collusion, messages: 'hits.exists(h, h.name == "collusion")', verdict: block}
tests:
  - {message: {text: "about PRJ-123456"}, verdict: block, rule: project}
  - {message: {text: "BETWEEN us"}, verdict: block, rule: collusion}
  - {message: {text: "take it offline"}, verdict: block, rule: collusion}
  - {message: {text: "plain"}, verdict: allow}
`)
	set, err := rules.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if failures, _ := set.Policy.RunTests(t.Context(), set.Finder()); len(failures) > 0 {
		t.Errorf("%v", failures)
	}
	all, err := rules.Load(path, nil, rules.AllPacks)
	if err != nil || all.Policy.Version() == set.Policy.Version() {
		t.Errorf("with all packs: %v, the same version", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\npacks: [pi]":                                       `:2:9: unknown pack "pi"`,
		"version: 1\npacks: [pii]\npatterns: {iban: {check: iban}}":     "used twice",
		"version: 1\nrules: [{id: a, messages: 'true', verdict: hold}]": `:2:44: the verdict "hold" cannot be carried out on messages: no gateway releases messages later yet`,
		"version: 1\nrules: [{id: a, rooms: [x], verdict: quarantine}]": `the verdict "quarantine" cannot be carried out on messages`,
		"version: 1\nrules: [{id: a, rooms: [x], redact: '*'}]":         `redact cannot be carried out on messages: no gateway rewrites them yet`,
		"version: 1\notherwise: {messages: hold}":                       `otherwise: messages cannot be "hold": no gateway releases messages later yet`,
		"version: 1\notherwise: {not_inspected: quarantine}":            `otherwise: not_inspected cannot be "quarantine"`,
		"version: 1\nrules: [{id: a, apps: telegramm, verdict: block}]": `:2:23: unknown app "telegramm"`,
	} {
		_, err := rules.Load(write(t, text), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := rules.Load(filepath.Join(t.TempDir(), "absent"), nil); err == nil {
		t.Error("an absent file is accepted")
	}
	if _, err := rules.Load(t.TempDir(), nil); err == nil {
		t.Error("a folder is accepted")
	}
}

func TestHint(t *testing.T) {
	_, err := rules.Load(write(t, "version: 1\nruls: []"), nil)
	if got := rules.Hint(err); got != `did you mean "rules"?` {
		t.Errorf("hint %q", got)
	}
}
