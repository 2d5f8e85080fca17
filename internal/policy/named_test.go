package policy_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestNaming: what groups name is told from what they do not, and what comes near is said.
func TestNaming(t *testing.T) {
	compile := func(text string) *policy.Policy {
		f, err := policy.Parse("policy.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.Compile(f, policy.Known{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := compile("version: 1\ngroups: {sales: {hosts: ['sales-*', laptop-17], people: [alice]}, many: {hosts: [a1x, b2x, c3x, d4x, e5x]}}\nrules: []\n")
	none := compile("version: 1\ngroups: {sales: {people: ['*@example.org']}}\nrules: []\n")
	for _, c := range []struct {
		why  string
		got  policy.Naming
		want policy.Naming
	}{
		{"by its name", p.NamesHost("Laptop-17"), policy.Naming{Matches: true, Any: true, Hint: `did you mean "laptop-17"?`}},
		{"by a pattern", p.NamesHost("sales-9"), policy.Naming{Matches: true, Any: true, Hint: `did you mean "sales-*"?`}},
		{"nearly", p.NamesHost("laptp-17"), policy.Naming{Any: true, Hint: `did you mean "laptop-17"?`}},
		{"not at all", p.NamesHost("zzzzzzzzzzzzzzzzzzzz"), policy.Naming{Any: true, Hint: "the policy names a1x, b2x, c3x, d4x, e5x and 2 more"}},
		{"no machines are named", none.NamesHost("x"), policy.Naming{}},
		{"a person", p.NamesPerson("alice"), policy.Naming{Matches: true, Any: true, Hint: "the policy names alice"}},
		{"another person", none.NamesPerson("bob@example.com"), policy.Naming{Any: true, Hint: "the policy names *@example.org"}},
	} {
		if c.got.Matches {
			c.got.Hint, c.want.Hint = "", ""
		}
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", c.why, c.got, c.want)
		}
	}
}
