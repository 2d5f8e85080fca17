package policy

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed quickstart.yaml
var quickstart string

// profile is how a quickstart profile differs from the plain one.
type profile struct {
	about     string
	rules     string // put before the rule office-chat
	retention string
}

// Profiles lists the quickstart profiles.
func Profiles() []string { return []string{"plain", "us-broker-dealer", "uk-eu", "works-council"} }

func profileOf(name string) (profile, error) {
	switch name {
	case "plain", "":
		return profile{}, nil
	case "us-broker-dealer":
		return profile{
			about: "US broker-dealer: communications are kept six years (FINRA rule 4511), more than the three of SEC rule 17a-4(b)(4), the first two easily\n# accessible, and supervised (FINRA rule 3110). Off-channel business is the main risk: moves to another venue go to review.",
			rules: `  - {id: supervise-outside, messages: 'leaves_org && event.kind == "message"', review: correspondence, reason: "FINRA 3110(b)(4): review of correspondence"}` + "\n",
			retention: `  - {id: default, days: 2192, erasable: no}   # six years
`,
		}, nil
	case "uk-eu":
		return profile{
			about: "UK and EU investment firm: relevant communications are kept five years, seven where the authority asks (MiFID II, article 16(7);\n# SYSC 10A.1). Everything else is kept no longer than needed and can be erased on request (GDPR, articles 5 and 17).",
			rules: "",
			retention: `  - {id: default, days: 365, erasable: request}
  - {id: relevant-communications, days: 1827, erasable: no, kinds: [message, edit, retraction, reaction, file, call]}   # five years
`,
		}, nil
	case "works-council":
		return profile{
			about: "With a works council: few inspections, short retention, erasure on request, nothing watched\n# beyond what the agreement lists.",
			rules: "",
			retention: `  - {id: default, days: 180, erasable: request}
`,
		}, nil
	}
	return profile{}, fmt.Errorf("unknown profile %q: one of %s", name, strings.Join(Profiles(), ", "))
}

// Quickstart returns the commented policy of a profile, for an organisation with these domains.
func Quickstart(name string, internal ...string) ([]byte, error) {
	p, err := profileOf(name)
	if err != nil {
		return nil, err
	}
	text := quickstart
	if p.about != "" {
		text = "# " + p.about + "\n#\n" + text
	}
	text = strings.Replace(text, "  - {id: malware,", p.rules+"  - {id: malware,", 1)
	if p.retention != "" {
		text = strings.Replace(text, "  - {id: default, days: 2190, erasable: no}\n", p.retention, 1)
	}
	if len(internal) > 0 {
		text = strings.Replace(text, "internal: [example.org]", "internal: ["+strings.Join(internal, ", ")+"]", 1)
		text = strings.ReplaceAll(text, "@example.org", "@"+internal[0])
	}
	return []byte(text), nil
}

// Default returns the quickstart policy as a parsed file: what applies where no policy is given.
func Default() (*File, error) { return Parse("quickstart policy", DefaultSource()) }

// DefaultSource returns the bytes of the quickstart policy.
func DefaultSource() []byte { return []byte(quickstart) }
