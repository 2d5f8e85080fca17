package export_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/policy/export/formats"
)

func TestFired(t *testing.T) {
	sum := strings.Repeat("a", 64)
	for _, c := range []struct {
		rule, key string
		want      bool
	}{
		{"path=/usr/bin/x", "path=/usr/bin/x", true},
		{"path=/usr/bin/x", "path=/usr/bin/xy", false},
		{"path=/usr/bin/x", "sha256hash=" + sum + " path=/usr/bin/x", true},
		{"sha256hash=" + sum, "sha256hash=" + sum + " path=/tmp/a b", true},
		{"sha256hash=" + sum, "path=/tmp/ sha256hash=" + sum + " path=/x", false},
		{"dir=/media/", "path=/media/stick/x", true},
		{"dir=/media/", "path=/mediator", false},
		{"TEAMID:A", "TEAMID:A", true},
		{"SIGNINGID:A:b.c", "SIGNINGID:A", true},
		{"SIGNINGID:A:b.c", "SIGNINGID:A:b", false},
		{"", "", false},
	} {
		if got := (export.Rule{Key: c.rule}).Fired(c.key); got != c.want {
			t.Errorf("%q by %q: %v", c.rule, c.key, got)
		}
	}
}

// TestRules: each enforcer that says something back tells the rules of the plan apart, and what is allowed is none of them.
func TestRules(t *testing.T) {
	p := exporttest.Plan(t, exporttest.Policy, export.Options{})
	for _, f := range formats.All() {
		if f.Rules == nil {
			continue
		}
		seen := map[string]bool{}
		telegram := false
		for _, r := range f.Rules(p) {
			if seen[r.Key] || r.Key == "" || r.Policy == "" || r.App == "slack" || strings.Contains(r.Key, exporttest.Allowed) {
				t.Errorf("%s: %+v", f.Name, r)
			}
			seen[r.Key] = true
			telegram = telegram || r.App == "telegram" && r.Policy == "none"
		}
		if !telegram {
			t.Errorf("%s: no rule for Telegram", f.Name)
		}
	}
}
