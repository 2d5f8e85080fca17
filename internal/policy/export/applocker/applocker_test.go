package applocker_test

import (
	"bytes"
	"encoding/xml"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/applocker"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

// file is a program as AppLocker sees it; publisher and product are "" when it is not signed.
type file struct{ publisher, product, path string }

// runs evaluates one collection as AppLocker does: denial wins, and what nothing allows does not run.
func runs(c *applocker.Collection, f file) bool {
	matches := func(cond, value string) bool { return cond == "*" || cond == strings.ToUpper(value) }
	allowed := false
	for _, r := range c.Publishers {
		if f.publisher == "" || !matches(r.Condition.Publisher, f.publisher) || !matches(r.Condition.Product, f.product) {
			continue
		}
		if r.Action == "Deny" {
			return false
		}
		allowed = true
	}
	for _, r := range c.Paths {
		if prefix, _ := strings.CutSuffix(r.Condition.Path, "*"); !strings.HasPrefix(f.path, prefix) {
			continue
		}
		if r.Action == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

func written(t *testing.T, p *export.Plan) (*applocker.Policy, []string) {
	t.Helper()
	var out bytes.Buffer
	left, err := applocker.Write(&out, p)
	if err != nil {
		t.Fatal(err)
	}
	var got applocker.Policy
	if err := xml.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	return &got, left
}

const telegram = "O=TELEGRAM FZ-LLC, L=DUBAI, C=AE"

func TestPolicyDecidesAsThePlan(t *testing.T) {
	found := []export.Found{
		{SHA256: strings.Repeat("3", 64), App: "telegram", Format: "pe", Publisher: "CN=Telegram FZ-LLC, O=Telegram FZ-LLC, L=Dubai, C=AE", Confidence: 990},
		{SHA256: strings.Repeat("4", 64), App: "skype", Format: "pe", Publisher: `CN=Microsoft Corporation, O=Microsoft Corporation, L=Redmond, ST=Washington, C=US`, Confidence: 990},
	}
	p, left := written(t, exporttest.Plan(t, exporttest.Policy, export.Options{Found: found}))
	const microsoft = "O=MICROSOFT CORPORATION, L=REDMOND, S=WASHINGTON, C=US"
	for _, c := range []struct {
		why  string
		file file
		want bool
	}{
		{"a signer that was found", file{telegram, "Anything", `C:\x.exe`}, false},
		{"a signer that makes other programs too, and the product", file{microsoft, "Skype", `C:\x.exe`}, false},
		{"another product of that signer", file{microsoft, "Microsoft Word", `C:\x.exe`}, true},
		{"a messenger known by its product alone", file{"O=WHOEVER, C=US", "Viber", `C:\x.exe`}, false},
		{"a messenger that is approved", file{"O=SLACK TECHNOLOGIES, LLC, L=SAN FRANCISCO, S=CALIFORNIA, C=US", "Slack", `C:\x.exe`}, true},
		{"what is not signed", file{"", "", `C:\x.exe`}, true},
		{"a stick", file{"", "", `%HOT%\x.exe`}, false},
		{"a disc", file{"", "", `%REMOVABLE%\x.exe`}, false},
	} {
		for i := range p.Collections {
			if got := runs(&p.Collections[i], c.file); got != c.want {
				t.Errorf("%s, %s: runs %t, want %t", p.Collections[i].Type, c.why, got, c.want)
			}
		}
	}
	if !strings.Contains(strings.Join(left, "\n"), "files known by content") {
		t.Errorf("left out: %v", left)
	}
}

func TestIDsAreGUIDsAndNoneIsThereTwice(t *testing.T) {
	p, _ := written(t, exporttest.Plan(t, exporttest.Policy, export.Options{}))
	guid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	check := func(id string) {
		if !guid.MatchString(id) || seen[id] {
			t.Errorf("id %q", id)
		}
		seen[id] = true
	}
	for _, c := range p.Collections {
		if c.Mode != "Enabled" {
			t.Errorf("%s: %s", c.Type, c.Mode)
		}
		for _, r := range c.Publishers {
			check(r.ID)
		}
		for _, r := range c.Paths {
			check(r.ID)
		}
	}
}

func TestAPolicyThatWatchesIsAudited(t *testing.T) {
	p, _ := written(t, exporttest.Plan(t, "version: 1\nmode: monitor\nrules: [{id: none, apps: ['*'], verdict: block}]\n", export.Options{}))
	for _, c := range p.Collections {
		if c.Mode != "AuditOnly" {
			t.Errorf("%s: %s", c.Type, c.Mode)
		}
	}
}

// TestSubjects tries names of signers as certificates have them.
func TestSubjects(t *testing.T) {
	for subject, want := range map[string]string{
		`CN="Zoom Video Communications, Inc.", O="Zoom Video Communications, Inc.", L=San Jose, S=California, C=US`: "O=ZOOM VIDEO COMMUNICATIONS, INC., L=SAN JOSE, S=CALIFORNIA, C=US",
		`CN=Zoom, O=Zoom Video Communications\, Inc., L=San Jose, ST=California, C=US`:                              "O=ZOOM VIDEO COMMUNICATIONS, INC., L=SAN JOSE, S=CALIFORNIA, C=US",
	} {
		found := []export.Found{{SHA256: strings.Repeat("5", 64), App: "zoom", Format: "pe", Publisher: subject, Confidence: 990}}
		p, _ := written(t, exporttest.Plan(t, exporttest.Policy, export.Options{Found: found}))
		ok := false
		for _, r := range p.Collections[0].Publishers {
			ok = ok || r.Condition.Publisher == want
		}
		if !ok {
			t.Errorf("%s is not in the policy as %s", subject, want)
		}
	}
}
