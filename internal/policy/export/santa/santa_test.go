package santa_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/policy/export/santa"
)

// decide is Santa's order: the rule of the file, then of the signed identifier, then of the team; without a rule, monitor mode lets it run.
func decide(set santa.RuleSet, sum, team, bundle string) string {
	for _, try := range [][2]string{{"BINARY", sum}, {"SIGNINGID", team + ":" + bundle}, {"TEAMID", team}} {
		for _, r := range set.Rules {
			if r.RuleType == try[0] && r.Identifier == try[1] {
				return r.Policy
			}
		}
	}
	return "ALLOWLIST"
}

func TestRulesDecideAsThePolicy(t *testing.T) {
	var out bytes.Buffer
	if _, err := santa.Write(&out, exporttest.Plan(t, exporttest.Policy, export.Options{})); err != nil {
		t.Fatal(err)
	}
	var set santa.RuleSet
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&set); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ why, sum, team, bundle, want string }{
		{"a team that makes only the messenger", "", "6N38VWS5BX", "ru.keepcoder.Telegram", "BLOCKLIST"},
		{"the same team, another name", "", "6N38VWS5BX", "org.example.other", "BLOCKLIST"},
		{"a team that makes other programs too", "", "UBF8T346G9", "com.microsoft.teams2", "BLOCKLIST"},
		{"another program of that team", "", "UBF8T346G9", "com.microsoft.Word", "ALLOWLIST"},
		{"a messenger that is approved", "", "BQR82RBBHL", "com.tinyspeck.slackmacgap", "ALLOWLIST"},
		{"a file that policy stops", exporttest.Denied, "", "", "BLOCKLIST"},
		{"a file that policy allows, by a team that is stopped", exporttest.Allowed, "6N38VWS5BX", "ru.keepcoder.Telegram", "ALLOWLIST"},
		{"anything else", "", "ABCDE12345", "org.example.editor", "ALLOWLIST"},
	} {
		if got := decide(set, c.sum, c.team, c.bundle); got != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
}

// TestRulesKeepTheProtocol checks each rule against the published sync protocol: known types, identifiers of their shape, none twice.
func TestRulesKeepTheProtocol(t *testing.T) {
	shape := map[string]*regexp.Regexp{
		"BINARY": regexp.MustCompile(`^[0-9a-f]{64}$`), "TEAMID": regexp.MustCompile(`^[A-Z0-9]{10}$`), "SIGNINGID": regexp.MustCompile(`^[A-Z0-9]{10}:[A-Za-z0-9.-]+$`),
	}
	set, _ := santa.Rules(exporttest.Plan(t, exporttest.Policy, export.Options{}))
	seen := map[string]bool{}
	for _, r := range set.Rules {
		re := shape[r.RuleType]
		if re == nil || !re.MatchString(r.Identifier) || r.Policy != "BLOCKLIST" && r.Policy != "ALLOWLIST" {
			t.Errorf("%+v", r)
		}
		if seen[r.RuleType+r.Identifier] {
			t.Errorf("twice: %+v", r)
		}
		seen[r.RuleType+r.Identifier] = true
	}
}

func TestNothingIsWrittenForAPolicyThatWatches(t *testing.T) {
	p := exporttest.Plan(t, "version: 1\nmode: monitor\nrules: [{id: none, apps: ['*'], verdict: block}]\n", export.Options{})
	if _, err := santa.Write(io.Discard, p); !errors.Is(err, export.ErrWatched) {
		t.Error(err)
	}
}
