package export_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

func apps(p *export.Plan) []string {
	var out []string
	for _, a := range p.Apps {
		out = append(out, a.ID)
	}
	return out
}

const sum1, sum2 = "1111111111111111111111111111111111111111111111111111111111111111", "2222222222222222222222222222222222222222222222222222222222222222"

func TestPlanIsWhatPolicySays(t *testing.T) {
	p := exporttest.Plan(t, `
version: 1
groups: {sales: {hosts: [laptop-17]}}
rules:
  - {id: fine, programs: {sha256: ["`+sum1+`"]}, verdict: allow}
  - {id: bad, programs: {sha256: ["`+sum2+`"]}, verdict: block, say: "No."}
  - {id: chat, apps: [slack], verdict: allow}
  - {id: sales-may, apps: [whatsapp], groups: [sales], verdict: allow}
  - {id: none, apps: ["*"], verdict: block, say: "Use the firm's chat."}
  - {id: sticks, programs: {media: removable}, verdict: block}
  - {id: makers, programs: {publisher: ["*Skype*"]}, verdict: block}
`, export.Options{})
	got := apps(p)
	if slices.Contains(got, "slack") || !slices.Contains(got, "whatsapp") || !slices.Contains(got, "telegram") || p.Audit {
		t.Errorf("stopped: %v, audit %t", got, p.Audit)
	}
	want := []export.Hash{{SHA256: sum1, Rule: "fine", Allow: true}, {SHA256: sum2, Rule: "bad", Say: "No."}}
	if !slices.Equal(p.Hashes, want) {
		t.Errorf("hashes %+v, want %+v", p.Hashes, want)
	}
	if p.Removable == nil || p.Removable.Rule != "sticks" {
		t.Errorf("removable: %+v", p.Removable)
	}
	if !slices.ContainsFunc(p.Names, func(n export.Name) bool {
		return n.Suffix == "web.whatsapp.com" && n.Say == "Use the firm's chat."
	}) || slices.ContainsFunc(p.Names, func(n export.Name) bool { return n.App == "slack" }) {
		t.Errorf("names: %v", p.Names)
	}
	notes := strings.Join(p.Notes, "\n")
	if !strings.Contains(notes, "rule makers matches programs by publisher") || !strings.Contains(notes, "rule sales-may holds for the groups sales") {
		t.Errorf("notes:\n%s", notes)
	}
}

func TestPlanOfOneMachine(t *testing.T) {
	text := "version: 1\ngroups: {sales: {hosts: [laptop-17]}}\nrules:\n  - {id: may, apps: [whatsapp], groups: [sales], verdict: allow}\n  - {id: none, apps: ['*'], verdict: block}\n"
	if got := apps(exporttest.Plan(t, text, export.Options{Subject: export.Subject{Host: "laptop-17"}})); slices.Contains(got, "whatsapp") || !slices.Contains(got, "signal") {
		t.Errorf("laptop-17: %v", got)
	}
	if got := apps(exporttest.Plan(t, text, export.Options{Subject: export.Subject{Host: "laptop-18"}})); !slices.Contains(got, "whatsapp") {
		t.Errorf("laptop-18: %v", got)
	}
}

func TestPlanOfAPolicyThatWatches(t *testing.T) {
	text := "version: 1\nmode: monitor\nrules: [{id: none, apps: ['*'], verdict: block, until: 2026-12-31}]\n"
	p := exporttest.Plan(t, text, export.Options{})
	if !p.Audit || len(p.Names) != 0 || !strings.Contains(strings.Join(p.Notes, "\n"), "2027-01-01T00:00:00Z") {
		t.Errorf("audit %t, %d names, notes %v", p.Audit, len(p.Names), p.Notes)
	}
	if p = exporttest.Plan(t, text, export.Options{Enforce: true}); p.Audit || len(p.Names) == 0 {
		t.Errorf("as if enforced: audit %t, %d names", p.Audit, len(p.Names))
	}
}

func TestPlanOfWhatWasFound(t *testing.T) {
	found, err := export.ReadFound(strings.NewReader(`{"type":"finding","path":"/home/a/x","inside":"","app":"telegram","format":"pe","publisher":"CN=Telegram FZ-LLC, O=Telegram FZ-LLC, L=Dubai, C=AE","sha256":"` + sum1 + `","confidence":0.99}
{"type":"finding","path":"/home/a/x.zip","inside":"setup.exe","app":"telegram","format":"pe","publisher":"CN=Telegram FZ-LLC, O=Telegram FZ-LLC, L=Dubai, C=AE","sha256":"` + sum2 + `","confidence":0.99}
{"type":"finding","path":"/home/a/y","inside":"","app":"slack","format":"elf","publisher":"","sha256":"` + strings.Repeat("3", 64) + `","confidence":0.99}
{"type":"error","path":"/x","reason":"unreadable"}
{"type":"summary","files":3}
`))
	if err != nil || len(found) != 3 {
		t.Fatalf("%d findings, %v", len(found), err)
	}
	p := exporttest.Plan(t, "version: 1\nrules:\n  - {id: chat, apps: [slack], verdict: allow}\n  - {id: none, apps: ['*'], verdict: block}\n", export.Options{Found: found})
	if len(p.Hashes) != 1 || p.Hashes[0].SHA256 != sum1 || p.Hashes[0].Format != "pe" || len(p.Signers) != 1 || p.Signers[0].App != "telegram" {
		t.Errorf("hashes %+v, signers %+v", p.Hashes, p.Signers)
	}
}

func TestReadFoundRefusesWhatIsNoFinding(t *testing.T) {
	for _, text := range []string{"no json", `{"type":"finding","sha256":"abc"}`, `{"type":"finding","sha256":"` + strings.Repeat("G", 64) + `"}`, strings.Repeat("x", 2<<20)} {
		if _, err := export.ReadFound(strings.NewReader(text)); err == nil {
			t.Errorf("%.40q is taken", text)
		}
	}
}

func FuzzReadFound(f *testing.F) {
	f.Add(`{"type":"finding","app":"telegram","sha256":"` + sum1 + `","confidence":0.99}` + "\n")
	f.Add("{}\n\n[]")
	f.Fuzz(func(t *testing.T, text string) {
		found, err := export.ReadFound(strings.NewReader(text))
		for _, x := range found {
			if err == nil && len(x.SHA256) != 64 {
				t.Errorf("%+v", x)
			}
		}
	})
}
