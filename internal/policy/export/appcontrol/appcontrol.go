// Package appcontrol writes a plan as an App Control (WDAC) base policy of Windows, after its schema cipolicy.xsd and Microsoft's own block
// lists.
package appcontrol

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
	return export.Format{Name: "appcontrol", About: "App Control (WDAC) policy (Windows): ConvertFrom-CIPolicy FILE {PolicyID}.cip, then CiTool --update-policy", Holds: export.Holds{Programs: true}, Write: Write, Rules: Rules}
}

// Policy is a base policy that allows all but what it denies. Its elements stand in the order that the schema wants.
type Policy struct {
	XMLName   xml.Name    `xml:"urn:schemas-microsoft-com:sipolicy SiPolicy"`
	Type      string      `xml:"PolicyType,attr"`
	Comment   xml.Comment `xml:",comment"`
	Version   string      `xml:"VersionEx"`
	Platform  string      `xml:"PlatformID"`
	Options   []Option    `xml:"Rules>Rule"`
	EKUs      struct{}    `xml:"EKUs"`
	Files     FileRules   `xml:"FileRules"`
	Signers   struct{}    `xml:"Signers"`
	Scenarios []Scenario  `xml:"SigningScenarios>SigningScenario"`
	Updaters  struct{}    `xml:"UpdatePolicySigners"`
	HVCI      int         `xml:"HvciOptions"`
	BaseID    string      `xml:"BasePolicyID"`
	ID        string      `xml:"PolicyID"`
}

// Option is a switch of the policy.
type Option struct {
	Option string `xml:"Option"`
}

// FileRules are what may run, and what may not: denial wins.
type FileRules struct {
	Allow []FileRule `xml:"Allow"`
	Deny  []FileRule `xml:"Deny"`
}

// FileRule matches by what the version resource of a signed or unsigned program says. In a rule that denies, MinimumFileVersion means the reverse of
// what it means in one that allows: that version and all below it are denied, and the highest there is denies them all, as Microsoft's recommended
// block rules do (learn.microsoft.com, "Applications that can bypass App Control").
type FileRule struct {
	ID       string `xml:"ID,attr"`
	Friendly string `xml:"FriendlyName,attr"`
	FileName string `xml:"FileName,attr,omitempty"` // OriginalFilename of the version resource
	Product  string `xml:"ProductName,attr,omitempty"`
	Path     string `xml:"FilePath,attr,omitempty"`
	Minimum  string `xml:"MinimumFileVersion,attr,omitempty"`

	app, policy string // what it is made for
}

// Scenario is where rules hold: 131 are drivers, 12 is what users run.
type Scenario struct {
	Value    int    `xml:"Value,attr"`
	ID       string `xml:"ID,attr"`
	Friendly string `xml:"FriendlyName,attr"`
	Refs     []Ref  `xml:"ProductSigners>FileRulesRef>FileRuleRef"`
}

// Ref names a rule.
type Ref struct {
	ID string `xml:"RuleID,attr"`
}

const (
	allVersions = "65535.65535.65535.65535"
	// platform is the same in all policies.
	platform = "{2E07F7E4-194C-4D20-B7C9-6F44A6C5A234}"
)

// Write writes the policy. It has no rules by signer: they need the hash of the issuer's certificate, and a signature with an elliptic curve matches
// none of them (learn.microsoft.com, "App Control admin tips and known issues").
func Write(w io.Writer, p *export.Plan) (left []string, err error) {
	policy, left := Make(p)
	return left, export.WriteXML(w, policy)
}

// Rules returns the rules that deny, as events of App Control tell them: by the policy's id and the product of the file.
func Rules(p *export.Plan) []export.Rule {
	var out []export.Rule
	policy, _ := Make(p)
	for _, r := range policy.Files.Deny {
		out = append(out, export.Rule{Key: policy.ID + ":" + strings.ToUpper(r.Product), App: r.app, Policy: r.policy})
	}
	return out
}

// Make returns the policy, and what it leaves out. It has one id, so that it replaces the one exported before, and a version that rises with
// the time it is made at.
func Make(p *export.Plan) (*Policy, []string) {
	id := "{" + strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceURL, []byte("chaperone:appcontrol")).String()) + "}"
	made := p.Made.UTC()
	out := &Policy{Type: "Base Policy", Platform: platform, ID: id, BaseID: id,
		Comment: export.Comment(p),
		Version: fmt.Sprintf("10.%d.%d.%d", made.Year()-2000, int(made.Month())*100+made.Day(), made.Hour()*100+made.Minute())}
	options := []string{"Enabled:Unsigned System Integrity Policy", "Enabled:UMCI", "Enabled:Update Policy No Reboot", "Disabled:Script Enforcement"}
	if p.Audit {
		options = append(options, "Enabled:Audit Mode")
	}
	for _, o := range options {
		out.Options = append(out.Options, Option{o})
	}
	drivers, users := Ref{"ID_ALLOW_ALL_DRIVERS"}, []Ref{{"ID_ALLOW_ALL_PROGRAMS"}}
	out.Files.Allow = []FileRule{{ID: drivers.ID, Friendly: "all others", FileName: "*"}, {ID: users[0].ID, Friendly: "all others", FileName: "*"}}
	left := []string{"rules by signer are left out: they need the hash of the issuer's certificate, and do not match signatures with elliptic curves"}
	left = append(left, export.Unknown(p, "Windows", func(a *export.App) bool { return len(a.Programs.Windows) > 0 })...)
	for i := range p.Apps {
		a := &p.Apps[i]
		known := false
		for _, w := range a.Programs.Windows {
			for _, product := range w.Product {
				known = true
				r := FileRule{ID: fmt.Sprintf("ID_DENY_CHAPERONE_%d", len(out.Files.Deny)+1), Friendly: a.ID + ", rule " + a.Rule, Product: product, Minimum: allVersions, app: a.ID, policy: a.Rule}
				out.Files.Deny = append(out.Files.Deny, r)
				users = append(users, Ref{r.ID})
			}
		}
		if len(a.Programs.Windows) > 0 && !known {
			left = append(left, a.ID+": the catalog knows no product name of its Windows programs")
		}
	}
	if n := len(p.Hashes); n > 0 {
		left = append(left, fmt.Sprintf("%d files known by content: App Control hashes a program without its signature, which a SHA-256 of the file is not", n))
	}
	if p.Removable != nil {
		left = append(left, "removable media: App Control knows no such place (AppLocker does)")
	}
	out.Scenarios = []Scenario{
		{131, "ID_SIGNINGSCENARIO_DRIVERS", "drivers", []Ref{drivers}},
		{12, "ID_SIGNINGSCENARIO_WINDOWS", "programs", users},
	}
	return out, left
}
