package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy"
)

// mistakesOf compiles a text and returns its mistakes.
func mistakesOf(t *testing.T, text string) []*policy.Error {
	t.Helper()
	_, err := compileText(text)
	if err == nil {
		return nil
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var out []*policy.Error
	for _, one := range list {
		var e *policy.Error
		if !errors.As(one, &e) {
			t.Fatalf("a mistake without a place: %v", one)
		}
		out = append(out, e)
	}
	return out
}

// TestMistakesInRules: each mistake in a rule has its line, its words and its hint. The rule stands in line 3.
func TestMistakesInRules(t *testing.T) {
	for rule, want := range map[string]string{
		"names: [a.example], verdict: allow":                                             "a rule needs an id; add id: with a short name",
		"id: otherwise, names: [a.example], verdict: allow":                              "the id otherwise is taken; rename the rule",
		"id: r, verdict: allow":                                                          "the rule does not say what it is for; add apps, names, programs, messages …; for everything: when: 'true'",
		"id: r, groups: [], hours: 'Mon 07:00-08:00', verdict: allow":                    "the rule does not say what it is for; add apps, names, programs, messages …; for everything: when: 'true'",
		"id: r, names: [a.example]":                                                      "the rule has neither a verdict nor an obligation; add verdict: allow or block, or review, alert, warn, redact",
		"id: r, names: [a.example], rooms: [x], verdict: allow":                          "matchers of different planes can never hold together; *",
		"id: r, apps: [signal], messages: 'true', verdict: allow":                        "matchers of different planes can never hold together; *",
		"id: r, programs: {format: pe}, ports: [1], verdict: allow":                      "matchers of different planes can never hold together; *",
		"id: r, names: [a.example], verdict: hold":                                       `the verdict "hold" cannot be carried out on the plane network; there: allow, block`,
		"id: r, programs: {format: pe}, verdict: hold":                                   `the verdict "hold" cannot be carried out on the plane programs; there: allow, block, quarantine`,
		"id: r, rooms: [x], verdict: drop":                                               `the verdict "drop" cannot be carried out on the plane messages; there: allow, hold, quarantine, block`,
		"id: r, names: [a.example], redact: '*'":                                         "redact cannot be carried out on the plane network; only messages can be redacted",
		"id: r, messages: 'true', redact: payment-cards":                                 `no pack, pattern or lexicon defines the hit "payment-cards"; did you mean "payment-card"?`,
		"id: r, messages: 'true', redact: zzzzzzzzzz":                                    `no pack, pattern or lexicon defines the hit "zzzzzzzzzz"; `,
		"id: r, apps: [whatsap], verdict: block":                                         `unknown app "whatsap"; did you mean "whatsapp"?`,
		"id: r, apps: [Signal], verdict: block":                                          `unknown app "Signal"; did you mean "signal"?`,
		"id: r, apps: [netscape-navigator], verdict: block":                              `unknown app "netscape-navigator"; `,
		"id: r, names: [a.example], service: call, verdict: block":                       `service is a phase of a messenger; add apps: ["*"]`,
		"id: r, names: ['a*.example'], verdict: block":                                   `"a*.example" is not a host name; example.com, *.example.com or *`,
		"id: r, names: ['https://a.example'], verdict: block":                            `"https://a.example" is not a host name; example.com, *.example.com or *`,
		"id: r, names: ['a.example:443'], verdict: block":                                `"a.example:443" is not a host name; example.com, *.example.com or *`,
		"id: r, names: [''], verdict: block":                                             `"" is not a host name; example.com, *.example.com or *`,
		"id: r, addresses: [192.0.2.256], verdict: block":                                `"192.0.2.256" is not an address or range; such as 192.0.2.1 or 10.0.0.0/8`,
		"id: r, addresses: [192.0.2.0/33], verdict: block":                               `"192.0.2.0/33" is not an address or range; such as 192.0.2.1 or 10.0.0.0/8`,
		"id: r, ports: [65536], verdict: block":                                          `"65536" is not a port or range; such as 443 or 5060-5070`,
		"id: r, ports: [90-80], verdict: block":                                          `"90-80" is not a port or range; such as 443 or 5060-5070`,
		"id: r, ports: [https], verdict: block":                                          `"https" is not a port or range; such as 443 or 5060-5070`,
		"id: r, ports: ['-1'], verdict: block":                                           `"-1" is not a port or range; such as 443 or 5060-5070`,
		"id: r, apps: [signal], confidence: sure, verdict: block":                        `unknown confidence "sure"; low, medium, high or exact`,
		"id: r, names: [a.example], confidence: low, verdict: block":                     "confidence is how surely a messenger was recognised; add apps",
		"id: r, programs: {media: usb}, verdict: block":                                  `unknown media "usb"; removable or fixed`,
		"id: r, programs: {sha256: abc}, verdict: block":                                 `"abc" is not a SHA-256; 64 hexadecimal digits, as sha256sum prints`,
		"id: r, programs: {sha256: " + strings.Repeat("g", 64) + "}, verdict: block":     `"` + strings.Repeat("g", 64) + `" is not a SHA-256; 64 hexadecimal digits, as sha256sum prints`,
		"id: r, names: [a.example], groups: [sale], verdict: block":                      `unknown group "sale"; did you mean "sales"?`,
		"id: r, names: [a.example], groups: [engineering], verdict: block":               `unknown group "engineering"; `,
		"id: r, names: [a.example], hours: 'Mon', verdict: block":                        `"Mon" is not a span such as 07:00-20:00; `,
		"id: r, names: [a.example], hours: 'Mon 7-8', verdict: block":                    `"7-8" is not a span such as 07:00-20:00; `,
		"id: r, names: [a.example], hours: 'Mon 07:00-07:00', verdict: block":            `"07:00-07:00" is not a span such as 07:00-20:00; `,
		"id: r, names: [a.example], hours: 'Mon 07:00-25:00', verdict: block":            `"07:00-25:00" is not a span such as 07:00-20:00; `,
		"id: r, names: [a.example], hours: 'Funday 07:00-08:00', verdict: block":         `"Funday" is not a day or a range of days such as Mon-Fri; `,
		"id: r, names: [a.example], hours: 'Mo-Fr 07:00-08:00', verdict: block":          `"Mo-Fr" is not a day or a range of days such as Mon-Fri; `,
		"id: r, names: [a.example], hours: 'on Mon 07:00-08:00', verdict: block":         `hours are written as Mon-Fri 07:00-20:00; `,
		"id: r, names: [a.example], hours: '', verdict: block":                           `hours are written as Mon-Fri 07:00-20:00; `,
		"id: r, names: [a.example], until: tomorrow, verdict: block":                     "until is a day such as 2027-01-31 or a moment in RFC 3339; ",
		"id: r, names: [a.example], until: 2027-02-30, verdict: block":                   "until is a day such as 2027-01-31 or a moment in RFC 3339; ",
		"id: r, names: [a.example], mode: watch, verdict: block":                         `unknown mode "watch"; monitor or enforce`,
		"id: r, messages: 'text', verdict: block":                                        "expression gives string, not true or false; *",
		"id: r, messages: 'txt == \"x\"', verdict: block":                                "expression, character 1: undeclared reference*",
		"id: r, messages: 'text ==', verdict: block":                                     "expression, character *",
		"id: r, when: 'event.nothing == 1', verdict: block":                              "expression, character *",
		"id: r, messages: 'hits.exists(h, h.name == \"cards\")', verdict: block":         `no pack, pattern or lexicon defines the hit "cards"; `,
		"id: r, messages: 'hits.exists(h, \"venue\" == h.name)', verdict: block":         `no pack, pattern or lexicon defines the hit "venue"; `,
		"id: r, messages: 'hits.exists(h, h.name in [\"zz\"])', verdict: block":          `no pack, pattern or lexicon defines the hit "zz"; `,
		"id: r, messages: '" + strings.Repeat("true && ", 2000) + "true', verdict: hold": "expression*",
	} {
		t.Run(rule[:min(len(rule), 80)], func(t *testing.T) {
			got := mistakesOf(t, "version: 1\nrules:\n  - {"+rule+"}\ngroups: {sales: {}}\n")
			if len(got) != 1 {
				t.Fatalf("mistakes %v, want one", got)
			}
			e, words := got[0], got[0].Msg+"; "+got[0].Hint
			start, open := strings.CutSuffix(want, "*")
			if words != want && !(open && strings.HasPrefix(words, start)) {
				t.Errorf("%q, want %q", words, want)
			}
			if e.File != "p" || e.Line != 3 || e.Column < 5 || !strings.HasPrefix(e.Error(), fmt.Sprintf("p:3:%d: ", e.Column)) {
				t.Errorf("place %s:%d:%d in %q", e.File, e.Line, e.Column, e.Error())
			}
		})
	}
}

// TestMistakesElsewhere gives the place and the beginning of the words.
func TestMistakesElsewhere(t *testing.T) {
	for text, want := range map[string]string{
		"timezone: Zurich":                                      `2:11: unknown time zone "Zurich" (use an IANA name such as Europe/Zurich)`,
		"timezone: Local":                                       `2:11: unknown time zone "Local"`,
		"timezone: ../../etc/passwd":                            `2:11: unknown time zone`,
		"mode: strict":                                          `2:7: unknown mode "strict" (monitor or enforce)`,
		"mode: {network: off}":                                  `2:17: unknown mode "off" (monitor or enforce)`,
		"mode: {networks: monitor}":                             `2:8: unknown key "networks" (did you mean "network"?)`,
		"otherwise: {network: quarantine}":                      `2:22: otherwise: network cannot be "quarantine" (one of allow, block)`,
		"otherwise: {programs: hold}":                           `2:23: otherwise: programs cannot be "hold" (one of allow, block, quarantine)`,
		"otherwise: {messages: pending}":                        `2:23: otherwise: messages cannot be "pending" (one of allow, hold, quarantine, block)`,
		"otherwise: {not_inspected: ignore}":                    `2:28: otherwise: not_inspected cannot be "ignore"`,
		"groups: {a: {networks: [10.0.0.0/8, 10.0.0.0/40]}}":    `2:37: "10.0.0.0/40" is not an address range (such as 10.0.0.0/8)`,
		"groups: {a: {mode: loud}}":                             `2:20: unknown mode "loud"`,
		"groups: {a: {peoples: [x]}}":                           `2:14: unknown key "peoples" (did you mean "people"?)`,
		"patterns: {a: {check: luhn}}":                          `2:15: pattern a has no regex (only the checks card, iban and ssn find by themselves)`,
		"patterns: {a: {regex: x, check: mod11}}":               `2:33: unknown check "mod11" (none, luhn, card, iban or ssn)`,
		"patterns: {a: {regex: '(?=x)'}}":                       "2:23: error parsing regexp",
		"patterns: {a: {regex: '('}}":                           "2:23: error parsing regexp: missing closing )",
		"lexicons: {a: {}}":                                     "2:",
		"lexicons: {a: {near: [{terms: [x], within: 3}]}}":      "2:23: near needs two terms or more and within from 1 to 100",
		"lexicons: {a: {near: [{terms: [x, y]}]}}":              "2:23: near needs two terms",
		"lexicons: {a: {near: [{terms: [x, y], within: 101}]}}": "2:23: near needs two terms",
		"retention: [{id: a}]":                                  "2:13: a retention class needs an id of its own and days",
		"retention: [{days: 7}]":                                "2:13: a retention class needs an id of its own and days",
		"retention: [{id: a, days: 7}, {id: a, days: 8}]":       "2:31: a retention class needs an id of its own and days",
		"retention: [{id: a, days: 7, erasable: maybe}]":        `2:40: erasable cannot be "maybe" (no or request)`,
		"retention: [{id: a, days: 7, groups: [x]}]":            `2:38: unknown group "x"`,
		"rules: [{id: {}}]":                                     "2:14: ",
		"rules: [{id: r, ports: {a: b}}]":                       "2:",
		"rules: [{id: r, names: [[a]]}]":                        "2:25: a word or a list of words is needed here",
		"tests: [{massage: {text: x}}]":                         `2:10: unknown key "massage" (did you mean "message"?)`,
		"packs: !!str x":                                        "2:8: anchors, aliases and tags are not part of a policy",
		"rules: [{<<: x}]":                                      "2:10: anchors, aliases and tags are not part of a policy",
	} {
		got := mistakesOf(t, "version: 1\n"+text+"\n")
		if len(got) != 1 || !strings.HasPrefix(describe(got[0]), "p:"+want) {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

// TestMistakesAreInTheOrderOfTheFile: all are told at once, each once, and a bounded number of them.
func TestMistakesAreInTheOrderOfTheFile(t *testing.T) {
	got := mistakesOf(t, `version: 1
retention: [{id: a}]
rules:
  - {id: one, names: [a.example], verdict: hold}
  - {id: two, apps: [whatsap], verdict: block}
  - {id: two, names: [a.example], verdict: allow}
timezone: Nowhere
`)
	var lines []int
	for _, e := range got {
		lines = append(lines, e.Line)
	}
	if fmt.Sprint(lines) != "[2 4 5 6 7]" {
		t.Errorf("lines %v: %v", lines, got)
	}
	if want := `the id "two" is used twice (first by rule 2)`; len(got) == 5 && got[3].Msg != want {
		t.Errorf("%q, want %q", got[3].Msg, want)
	}
	many := "version: 1\nrules:\n" + strings.Repeat("  - {names: [a.example], verdict: hold}\n", 300)
	if n := len(mistakesOf(t, many)); n == 0 || n > 50 {
		t.Errorf("%d mistakes are told of a broken file", n)
	}
}

// TestParseBounds: what is too large, too deep or no text is refused before anything is made of it.
func TestParseBounds(t *testing.T) {
	for name, text := range map[string]string{
		"larger than 1 MiB":            "version: 1\n#" + strings.Repeat("x", policy.MaxFileSize),
		"not a text file":              "version: 1\x00",
		"nested too deeply":            "version: 1\nrules: " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"nested  too deeply":           "version: 1\nrules:\n" + strings.Repeat(" ", 400) + "- x",
		"more than 10000 rules":        "version: 1\nrules: [" + strings.Repeat("{id: r},", 10_001) + "]",
		"more than one document":       "version: 1\n---\nversion: 1\n",
		"version: 1 is needed":         "",
		"version:  1 is needed":        "version: 2\n",
		"version:  1  is needed":       "# only a remark\n",
		"the value has the wrong form": "version: one\n",
	} {
		f, err := policy.Parse("p", []byte(text))
		var e *policy.Error
		if want := strings.ReplaceAll(name, "  ", " "); !errors.As(err, &e) || !strings.Contains(e.Msg, want) && name != "the value has the wrong form" {
			t.Errorf("%s: %v", name, err)
		}
		if f != nil {
			t.Errorf("%s: a file comes with the error", name)
		}
	}
}

// TestErrorWithoutAPlace has no line in its words.
func TestErrorWithoutAPlace(t *testing.T) {
	if got := (&policy.Error{File: "f", Msg: "wrong"}).Error(); got != "f: wrong" {
		t.Errorf("%q", got)
	}
	if got := (&policy.Error{File: "f", Line: 3, Column: 4, Msg: "wrong"}).Error(); got != "f:3:4: wrong" {
		t.Errorf("%q", got)
	}
}

// TestUncheckedApps: without a catalog apps are not checked.
func TestUncheckedApps(t *testing.T) {
	f, err := policy.Parse("p", []byte("version: 1\nrules: [{id: r, apps: [anything], verdict: block}]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Compile(f, policy.Known{}); err != nil {
		t.Errorf("without a catalog: %v", err)
	}
	if _, err := policy.Compile(f, policy.Known{Apps: []string{}}); err == nil {
		t.Error("with an empty catalog the app is known")
	}
}
