package appcontrol_test

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/appcontrol"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

// older compares versions of four numbers.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	return slices.CompareFunc(x, y, func(p, q string) int {
		m, _ := strconv.Atoi(p)
		n, _ := strconv.Atoi(q)
		return cmp.Compare(m, n)
	}) < 0
}

// runs evaluates the scenario of users as App Control does: denial wins; a rule that denies with a minimum version denies that version and all that
// are older, the reverse of what it means where a rule allows (Microsoft's recommended block rules deny bginfo before 4.22 by the minimum 4.21.0.0).
func runs(p *appcontrol.Policy, product, version string) bool {
	allowed := false
	for _, s := range p.Scenarios {
		for _, ref := range s.Refs {
			if s.Value != 12 {
				continue
			}
			for _, d := range p.Files.Deny {
				if d.ID == ref.ID && strings.EqualFold(d.Product, product) && (d.Minimum == "" || !older(d.Minimum, version)) {
					return false
				}
			}
			allowed = allowed || slices.ContainsFunc(p.Files.Allow, func(a appcontrol.FileRule) bool { return a.ID == ref.ID && a.FileName == "*" })
		}
	}
	return allowed
}

func written(t *testing.T, p *export.Plan) *appcontrol.Policy {
	t.Helper()
	var out bytes.Buffer
	if _, err := appcontrol.Write(&out, p); err != nil {
		t.Fatal(err)
	}
	var got appcontrol.Policy
	if err := xml.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestPolicyDecidesAsThePlan(t *testing.T) {
	p := written(t, exporttest.Plan(t, exporttest.Policy, export.Options{}))
	for _, c := range []struct {
		product, version string
		want             bool
	}{
		{"Telegram Desktop", "1.0.0.0", false}, {"Telegram Desktop", "5.9.0.0", false}, {"telegram desktop", "999.0.0.0", false},
		{"Telegram Desktop", "0.0.0.0", false}, {"Telegram Desktop", "65535.65535.65535.65535", false},
		{"Slack", "4.40.0.0", true}, {"Notepad", "10.0.0.0", true}, {"", "0.0.0.0", true},
	} {
		if got := runs(p, c.product, c.version); got != c.want {
			t.Errorf("%s %s: runs %t, want %t", c.product, c.version, got, c.want)
		}
	}
}

// TestMinimumOfADenialIsItsHighest holds the evaluator to what Microsoft's own list means, and our rules to deny every version: one that gave 0.0.0.0 as
// its lowest would deny nothing else.
func TestMinimumOfADenialIsItsHighest(t *testing.T) {
	policy := func(minimum string) *appcontrol.Policy {
		var p appcontrol.Policy
		text := `<SiPolicy xmlns="urn:schemas-microsoft-com:sipolicy"><FileRules><Allow ID="A" FileName="*"/><Deny ID="D" ProductName="BGInfo" MinimumFileVersion="` + minimum +
			`"/></FileRules><SigningScenarios><SigningScenario Value="12"><ProductSigners><FileRulesRef><FileRuleRef RuleID="A"/><FileRuleRef RuleID="D"/></FileRulesRef></ProductSigners></SigningScenario></SigningScenarios></SiPolicy>`
		if err := xml.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		return &p
	}
	for _, c := range []struct {
		minimum, version string
		want             bool
	}{
		{"4.21.0.0", "4.20.9.9", false}, {"4.21.0.0", "4.21.0.0", false}, {"4.21.0.0", "4.22.0.0", true}, {"4.21.0.0", "4.21.0.1", true},
		{"0.0.0.0", "4.21.0.0", true}, {"65535.65535.65535.65535", "4.21.0.0", false},
	} {
		if got := runs(policy(c.minimum), "bginfo", c.version); got != c.want {
			t.Errorf("minimum %s, version %s: runs %t, want %t", c.minimum, c.version, got, c.want)
		}
	}
	for _, d := range written(t, exporttest.Plan(t, exporttest.Policy, export.Options{})).Files.Deny {
		if d.Minimum != "65535.65535.65535.65535" || d.Product == "" || d.FileName != "" {
			t.Errorf("%+v", d)
		}
	}
}

// TestNoRuleBySigner: a signature with an elliptic curve matches no rule by signer (VerificationError 23), so that such a rule would let its programs run;
// there is none, whoever signed what a scan found, and it is said.
func TestNoRuleBySigner(t *testing.T) {
	found := []export.Found{{SHA256: strings.Repeat("3", 64), App: "telegram", Format: "pe", Publisher: "CN=Telegram FZ-LLC, O=Telegram FZ-LLC, C=AE", Confidence: 990}}
	var out bytes.Buffer
	left, err := appcontrol.Write(&out, exporttest.Plan(t, exporttest.Policy, export.Options{Found: found}))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "<Signer ") || strings.Contains(out.String(), "DeniedSigner") || !strings.Contains(strings.Join(left, "\n"), "do not match signatures with elliptic curves") {
		t.Errorf("left %q\n%s", left, out.String())
	}
}

func TestEachRuleHasOneIDAndIsReferredTo(t *testing.T) {
	p := written(t, exporttest.Plan(t, exporttest.Policy, export.Options{}))
	refs := map[string]int{}
	for _, s := range p.Scenarios {
		for _, r := range s.Refs {
			refs[r.ID]++
		}
	}
	for _, r := range slices.Concat(p.Files.Allow, p.Files.Deny) {
		if refs[r.ID] != 1 {
			t.Errorf("%s is referred to %d times", r.ID, refs[r.ID])
		}
	}
	if p.Version != "10.26.1125.1230" || p.ID != p.BaseID {
		t.Errorf("version %s, ids %s %s", p.Version, p.ID, p.BaseID)
	}
}

func TestAPolicyThatWatchesIsAudited(t *testing.T) {
	audited := func(p *appcontrol.Policy) bool {
		return slices.Contains(p.Options, appcontrol.Option{Option: "Enabled:Audit Mode"})
	}
	if !audited(written(t, exporttest.Plan(t, "version: 1\nmode: monitor\nrules: [{id: none, apps: ['*'], verdict: block}]\n", export.Options{}))) {
		t.Error("it would stop")
	}
	if audited(written(t, exporttest.Plan(t, exporttest.Policy, export.Options{}))) {
		t.Error("it would not stop")
	}
}
