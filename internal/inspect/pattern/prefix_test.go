package pattern

import (
	"slices"
	"testing"
)

func TestPrefixes(t *testing.T) {
	for expression, want := range map[string][]string{
		`PRJ-[0-9]{6}`:             {"PRJ-"},
		`\b(?:AKIA|ASIA)[A-Z]{4}`:  {"AKIA", "ASIA"},
		`\bgh[pos]_[a-z]+`:         {"ghp_", "gho_", "ghs_"},
		`^abc|de*f`:                nil, // "d" alone is too short
		`^abc|def+`:                {"abc", "def"},
		`(?i)abc`:                  nil,
		`[a-z]+x`:                  nil,
		`x?yz`:                     nil,
		`(ab)+c`:                   {"ab"},
		`-----BEGIN (?:A|B) KEY--`: {"-----BEGIN A KEY--", "-----BEGIN B KEY--"},
	} {
		got := prefixesOf(expression)
		slices.Sort(got)
		slices.Sort(want)
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", expression, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] && !(len(got[i]) > 10 && want[i][:10] == got[i][:10]) {
				t.Errorf("%s: %q, want %q", expression, got, want)
			}
		}
	}
}
