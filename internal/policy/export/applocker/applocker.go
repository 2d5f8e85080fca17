// Package applocker writes a plan as an AppLocker policy of Windows (learn.microsoft.com, "AppLocker policy XML"; publisher, path and hash
// conditions).
package applocker

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// Format is the entry of this format.
func Format() export.Format {
	return export.Format{Name: "applocker", About: "AppLocker policy (Windows): Set-AppLockerPolicy -XmlPolicy FILE -Merge, or import it into a group policy", Holds: export.Holds{Programs: true}, Write: Write, Rules: Rules}
}

// Policy is an AppLocker policy.
type Policy struct {
	XMLName     xml.Name     `xml:"AppLockerPolicy"`
	Version     string       `xml:"Version,attr"`
	Comment     xml.Comment  `xml:",comment"`
	Collections []Collection `xml:"RuleCollection"`
}

// Collection holds the rules of one kind of file. Within it denial wins, and what no rule allows does not run.
type Collection struct {
	Type       string          `xml:"Type,attr"`            // Exe or Msi
	Mode       string          `xml:"EnforcementMode,attr"` // Enabled or AuditOnly
	Publishers []PublisherRule `xml:"FilePublisherRule"`
	Paths      []PathRule      `xml:"FilePathRule"`
}

// rule is what all kinds of rules have.
type rule struct {
	ID          string `xml:"Id,attr"`
	Name        string `xml:"Name,attr"`
	Description string `xml:"Description,attr"`
	SID         string `xml:"UserOrGroupSid,attr"`
	Action      string `xml:"Action,attr"` // Allow or Deny

	app, policy string // what it is made for
}

// PublisherRule matches signed files.
type PublisherRule struct {
	rule
	Condition PublisherCondition `xml:"Conditions>FilePublisherCondition"`
}

// PublisherCondition compares in upper case; "*" alone is anything, and only alone.
type PublisherCondition struct {
	Publisher string  `xml:"PublisherName,attr"` // O=…, L=…, S=…, C=… of the signer, in that order
	Product   string  `xml:"ProductName,attr"`
	Binary    string  `xml:"BinaryName,attr"`
	Versions  version `xml:"BinaryVersionRange"`
}

type version struct {
	Low  string `xml:"LowSection,attr"`
	High string `xml:"HighSection,attr"`
}

// PathRule matches files by place.
type PathRule struct {
	rule
	Condition PathCondition `xml:"Conditions>FilePathCondition"`
}

// PathCondition may use AppLocker's variables: %REMOVABLE% (CD, DVD) and %HOT% (USB).
type PathCondition struct {
	Path string `xml:"Path,attr"`
}

const everyone = "S-1-1-0"

// Write writes the policy: all may run but what policy stops. It is for merging: rules that the machine has stay, and their denials too.
func Write(w io.Writer, p *export.Plan) (left []string, err error) {
	policy, left := Make(p)
	return left, export.WriteXML(w, policy)
}

// Make returns the policy, and what it leaves out.
func Make(p *export.Plan) (*Policy, []string) {
	mode := "Enabled"
	if p.Audit {
		mode = "AuditOnly"
	}
	out := &Policy{Version: "1", Comment: export.Comment(p)}
	var denied []PublisherRule
	left := export.Unknown(p, "Windows", func(a *export.App) bool { return len(a.Programs.Windows) > 0 })
	for i := range p.Apps {
		rules, missing := ofApp(p, &p.Apps[i])
		denied = append(denied, rules...)
		if missing != "" {
			left = append(left, missing)
		}
	}
	for _, kind := range []string{"Exe", "Msi"} {
		c := Collection{Type: kind, Mode: mode, Publishers: numbered(kind, denied)}
		c.Paths = append(c.Paths, PathRule{named(kind, "all others", "what no other rule denies", "Allow"), PathCondition{"*"}})
		if p.Removable != nil {
			for _, place := range []string{`%HOT%\*`, `%REMOVABLE%\*`} {
				c.Paths = append(c.Paths, PathRule{named(kind, "removable media "+place, "rule "+p.Removable.Rule, "Deny"), PathCondition{place}})
			}
		}
		out.Collections = append(out.Collections, c)
	}
	if n := len(p.Hashes); n > 0 {
		left = append(left, fmt.Sprintf("%d files known by content: AppLocker hashes a program without its signature, which a SHA-256 of the file is not", n))
	}
	return out, left
}

// Rules returns the rules that deny, by the ids that events of AppLocker have.
func Rules(p *export.Plan) []export.Rule {
	var out []export.Rule
	policy, _ := Make(p)
	for _, c := range policy.Collections {
		for _, r := range c.Publishers {
			out = append(out, export.Rule{Key: r.ID, App: r.app, Policy: r.policy})
		}
		for _, r := range c.Paths {
			if r.Action == "Deny" {
				out = append(out, export.Rule{Key: r.ID, Policy: p.Removable.Rule})
			}
		}
	}
	return out
}

// ofApp returns the rules of one messenger: by the signers that a scan found, which are whole, else by product alone.
func ofApp(p *export.Plan, a *export.App) (rules []PublisherRule, left string) {
	var products []string
	shared := sharedSigners(a)
	for _, w := range a.Programs.Windows {
		products = append(products, w.Product...)
	}
	add := func(publisher, product, why string) {
		r := named("", a.ID+" "+publisher+" "+product, why+", rule "+a.Rule, "Deny")
		r.app, r.policy = a.ID, a.Rule
		rules = append(rules, PublisherRule{r, PublisherCondition{publisher, strings.ToUpper(product), "*", version{"*", "*"}}})
	}
	exact := false
	for _, s := range p.Signers {
		name, ok := publisherName(s.Subject)
		if s.App != a.ID || !ok {
			continue
		}
		exact = true
		if !shared[organisation(s.Subject)] {
			add(name, "*", "signer found by a scan")
			continue
		}
		for _, product := range products {
			add(name, product, "signer found by a scan, and product")
		}
	}
	if exact {
		return rules, ""
	}
	for _, product := range products {
		add("*", product, "by product alone, of whatever signer")
	}
	if len(a.Programs.Windows) > 0 && len(products) == 0 {
		left = a.ID + ": the catalog knows no product name of its Windows programs"
	}
	return rules, left
}

func sharedSigners(a *export.App) map[string]bool {
	out := map[string]bool{}
	for _, w := range a.Programs.Windows {
		for _, pub := range w.Publishers {
			out[organisation(pub.Subject)] = pub.Shared
		}
	}
	for _, pub := range a.Publisher {
		out[organisation(pub.Subject)] = pub.Shared
	}
	return out
}

func named(kind, name, why, action string) rule {
	return rule{ID: uuid.NewSHA1(uuid.NameSpaceURL, []byte("chaperone:applocker:"+kind+":"+name)).String(), Name: "Chaperone: " + name, Description: why, SID: everyone, Action: action}
}

// numbered gives the rules of a collection ids of their own.
func numbered(kind string, rules []PublisherRule) []PublisherRule {
	out := make([]PublisherRule, 0, len(rules))
	seen := map[string]bool{}
	for _, r := range rules {
		r.ID = named(kind, r.Name, "", "").ID
		if !seen[r.ID] {
			seen[r.ID] = true
			out = append(out, r)
		}
	}
	return out
}
