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

// runs evaluates the scenario of users as App Control does: denial wins; a rule that denies with a minimum version denies what is older.
func runs(p *appcontrol.Policy, product, version string) bool {
	allowed := false
	for _, s := range p.Scenarios {
		for _, ref := range s.Refs {
			if s.Value != 12 {
				continue
			}
			for _, d := range p.Files.Deny {
				if d.ID == ref.ID && strings.EqualFold(d.Product, product) && (d.Minimum == "" || older(version, d.Minimum)) {
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
		{"Slack", "4.40.0.0", true}, {"Notepad", "10.0.0.0", true}, {"", "0.0.0.0", true},
	} {
		if got := runs(p, c.product, c.version); got != c.want {
			t.Errorf("%s %s: runs %t, want %t", c.product, c.version, got, c.want)
		}
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
