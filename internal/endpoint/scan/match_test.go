package scan

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program"
)

// pigeons is a catalog of two messengers, and of others that only have tokens.
func pigeons(t *testing.T) *catalog.Catalog {
	t.Helper()
	files := fstest.MapFS{
		"apps/pigeon.yaml": {Data: []byte(`id: pigeon
name: Pigeon
sources: ["pigeon.example, 2026-11"]
names: {service: [pigeon.example]}
programs:
  windows:
    - exe: Pigeon.exe
      product: [Pigeon Desktop]
      upgrade: ["{11111111-2222-3333-4444-555555555555}"]
      tokens: [PigeonCoopSetup, PigeonLoftTheme, web.pigeon.example]
      publishers:
        - {subject: "O=Pigeon Ltd.", to: 2024-06-30}
        - {subject: "O=Pigeon Holding, Inc.", from: 2024-07-01}
  macos: [{bundle: example.pigeon.Desktop, team: ABCDE12345}]
  linux: [{deb: [pigeon-desktop], rpm: [pigeon], snap: [pigeon], flatpak: [example.pigeon.Desktop], appimage: [Pigeon], desktop: [pigeon], binary: [pigeon-bin]}]
  hashes: [{sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, version: "1.0", source: "x, 2026-11"}]
  build_ids: [{id: 0b2588d040195d37334aa4581531976b266a29ad, version: "1.0", source: "x, 2026-11"}]
`)},
		"apps/owl.yaml": {Data: []byte(`id: owl
name: Owl
sources: ["owl.example, 2026-11"]
names: {service: [owl.example]}
programs:
  windows:
    - product: [Owl for Business]
      publishers: [{subject: "O=Huge Software Corporation", shared: true}]
      tokens: [OwlNestSetup]
`)},
	}
	for _, bird := range []string{"crow", "dove", "swan"} {
		files["apps/"+bird+".yaml"] = &fstest.MapFile{Data: []byte("id: " + bird + "\nname: " + bird + "\nsources: [\"x, 2026-11\"]\nnames: {service: [" + bird +
			".example]}\nprograms: {linux: [{deb: [" + bird + "-chat], tokens: [" + bird + "-nest-token]}]}\n")}
	}
	c, err := catalog.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(year int) time.Time { return time.Date(year, 1, 15, 0, 0, 0, 0, time.UTC) }

func TestMatch(t *testing.T) {
	m := newMatcher(pigeons(t))
	token := func(texts ...string) (out []int) {
		for _, text := range texts {
			for i, known := range m.tokens {
				if known.Text == text {
					out = append(out, i)
				}
			}
		}
		if len(out) != len(texts) {
			t.Fatalf("tokens %q are not all in the catalog", texts)
		}
		return out
	}
	signed := func(subject string, year int) []program.Signer {
		return []program.Signer{{Subject: subject, Time: at(year)}}
	}
	for _, c := range []struct {
		name  string
		id    program.Identity
		app   string
		least event.Confidence
	}{
		{"nothing", program.Identity{Format: program.ELF}, "", 0},
		{"hash", program.Identity{SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}, "pigeon", event.Exact},
		{"build id", program.Identity{Format: program.ELF, BuildID: "0b2588d040195d37334aa4581531976b266a29ad"}, "pigeon", event.High},
		{"another build id", program.Identity{Format: program.ELF, BuildID: "0b2588d040195d37334aa4581531976b266a29ae"}, "", 0},
		{"publisher of that time", program.Identity{Format: program.PE, Signers: signed("CN=Pigeon Ltd.,O=Pigeon Ltd.,C=GB", 2023)}, "pigeon", event.High},
		{"publisher at another time", program.Identity{Format: program.PE, Signers: signed("CN=Pigeon Ltd.,O=Pigeon Ltd.,C=GB", 2026)}, "", 0},
		{"publisher and product", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Signers: signed("O=Pigeon Holding\\, Inc.", 2025)}, "pigeon", event.Exact},
		{"publisher of many products", program.Identity{Format: program.PE, Signers: signed("O=Huge Software Corporation", 2025)}, "", 0},
		{"the same with the product", program.Identity{Format: program.PE, Product: "Owl for Business", Signers: signed("O=Huge Software Corporation", 2025)}, "owl", event.Exact},
		{"product alone", program.Identity{Format: program.PE, Product: "Pigeon Desktop"}, "pigeon", event.Low},
		{"company that is only claimed", program.Identity{Format: program.PE, Company: "Pigeon Holding, Inc."}, "", 0},
		{"both claimed", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Company: "Pigeon Holding, Inc."}, "pigeon", event.Medium},
		{"both claimed, with less care", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Company: "Pigeon Holding Incorporated"}, "pigeon", event.Medium},
		{"both claimed, of a publisher of many products", program.Identity{Format: program.PE, Product: "Owl for Business", Company: "Huge Software Corp."}, "owl", event.Medium},
		{"the product of another company", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Company: "Loft Builders"}, "", 0},
		{"the product signed by another company", program.Identity{Format: program.MSI, Product: "Pigeon Desktop", Signers: signed("O=Loft Builders", 2025)}, "", 0},
		{"the product of another company, and its original name", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Binary: "Pigeon.exe", Company: "Loft Builders"}, "", 0},
		{"the product of another company, with a token", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Company: "Loft Builders", Tokens: token("PigeonCoopSetup")}, "pigeon", event.Medium},
		{"the product of another company, with the upgrade code", program.Identity{Format: program.MSI, Product: "Pigeon Desktop", Company: "Loft Builders", Upgrade: "{11111111-2222-3333-4444-555555555555}"}, "pigeon", event.Exact},
		{"a maker called as the product", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Company: "Pigeon"}, "pigeon", event.Low},
		{"a product that only begins so", program.Identity{Format: program.PE, Product: "Pigeon Desktop Wallpaper"}, "", 0},
		{"product and original name", program.Identity{Format: program.PE, Product: "Pigeon Desktop", Binary: "Pigeon.exe"}, "pigeon", 700},
		{"company of many products, claimed", program.Identity{Format: program.PE, Company: "Huge Software Corporation", Binary: "x.exe"}, "", 0},
		{"original name alone", program.Identity{Format: program.PE, Binary: "Pigeon.exe"}, "", 0},
		{"upgrade code", program.Identity{Format: program.MSI, Upgrade: "{11111111-2222-3333-4444-555555555555}"}, "pigeon", event.Exact},
		{"deb", program.Identity{Format: program.Deb, Package: "pigeon-desktop"}, "pigeon", event.Exact},
		{"deb with the name of the rpm", program.Identity{Format: program.Deb, Package: "pigeon"}, "", 0},
		{"rpm", program.Identity{Format: program.RPM, Package: "pigeon"}, "pigeon", event.Exact},
		{"bundle", program.Identity{Format: program.Bundle, Bundle: "example.pigeon.Desktop"}, "pigeon", event.High},
		{"team", program.Identity{Format: program.MachO, Bundle: "other", Team: "ABCDE12345"}, "pigeon", event.High},
		{"flatpak", program.Identity{Format: program.Desktop, Flatpak: "example.pigeon.Desktop"}, "pigeon", event.High},
		{"snap", program.Identity{Format: program.Desktop, Snap: "pigeon"}, "pigeon", event.High},
		{"icon", program.Identity{Format: program.Desktop, DesktopID: []string{"pigeon"}}, "pigeon", event.Medium},
		{"started program alone", program.Identity{Format: program.Desktop, Binary: "pigeon-bin"}, "", 0},
		{"appimage", program.Identity{Format: program.AppImage, Product: "Pigeon"}, "pigeon", event.Medium},
		{"one token of its own", program.Identity{Format: program.ELF, Tokens: token("PigeonCoopSetup")}, "pigeon", event.Medium},
		{"two tokens", program.Identity{Format: program.ELF, Tokens: token("PigeonCoopSetup", "PigeonLoftTheme")}, "pigeon", event.High},
		{"bare name", program.Identity{Format: program.ELF, Tokens: token("web.pigeon.example")}, "", 0},
		{"bare name and a hint", program.Identity{Format: program.PE, Binary: "Pigeon.exe", Tokens: token("web.pigeon.example")}, "", 0},
		{"talks about three", program.Identity{Format: program.ELF, Tokens: token("PigeonCoopSetup", "PigeonLoftTheme", "OwlNestSetup", "crow-nest-token")}, "pigeon", event.High},
		{"talks about four", program.Identity{Format: program.ELF, Tokens: token("PigeonCoopSetup", "PigeonLoftTheme", "OwlNestSetup", "crow-nest-token", "dove-nest-token")}, "", 0},
		{"indices that are none", program.Identity{Format: program.ELF, Tokens: []int{-1, 1 << 20}}, "", 0},
	} {
		app, evidence, confidence := m.app(&c.id)
		if app != c.app || confidence < c.least || confidence > event.Exact {
			t.Errorf("%s: %q with %d, want %q with at least %d; %+v", c.name, app, confidence, c.app, c.least, evidence)
		}
		if (app != "") != (len(evidence) > 0) {
			t.Errorf("%s: evidence %+v", c.name, evidence)
		}
	}
}

// TestProductAloneIsNoProof keeps every product name of the catalog, and of programs that are called alike, below what is acted on.
func TestProductAloneIsNoProof(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	m := newMatcher(c)
	for _, app := range c.Apps() {
		for _, w := range app.Programs.Windows {
			for _, product := range w.Product {
				for _, format := range []program.Format{program.PE, program.MSI} {
					if _, evidence, got := m.app(&program.Identity{Format: format, Product: product}); got > event.Low {
						t.Errorf("%s: %q alone as %s has confidence %d: %+v", app.ID, product, format, got, evidence)
					}
				}
				if _, evidence, got := m.app(&program.Identity{Format: program.PE, Product: product, Company: "Acoustics Laboratory of Nowhere"}); got > event.Low {
					t.Errorf("%s: %q by somebody else has confidence %d: %+v", app.ID, product, got, evidence)
				}
			}
		}
	}
}

// TestMakerConfirmsProduct finds every messenger of the catalog by product and publisher, both only claimed.
func TestMakerConfirmsProduct(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	m := newMatcher(c)
	for _, app := range c.Apps() {
		for _, w := range app.Programs.Windows {
			for _, p := range w.Publishers {
				for _, name := range organisations(p.Subject) {
					id := program.Identity{Format: program.PE, Company: strings.Join(name, " "), Product: append(w.Product, "")[0]}
					if got, evidence, confidence := m.app(&id); id.Product != "" && (got != app.ID || confidence < ActFrom) {
						t.Errorf("%s by %q: %q with %d, %+v", id.Product, id.Company, got, confidence, evidence)
					}
				}
			}
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"Slack Technologies, Inc.", "slack technologies inc"}, {"Signal Messenger, LLC", "Signal Messenger"}, {"Viber Media S.a r.l.", "Viber Media"},
		{"Telegram FZ-LLC", "TELEGRAM  FZ LLC"}, {"Inc", "INC."},
	} {
		if !slices.Equal(words(c.a), words(c.b)) {
			t.Errorf("%q and %q: %q, %q", c.a, c.b, words(c.a), words(c.b))
		}
	}
	if slices.Equal(words("Signal Messenger"), words("Signal")) || len(words(strings.Repeat("a b ", 1000))) > maxWords {
		t.Error("too much is equal")
	}
}

func TestOrganisations(t *testing.T) {
	for subject, want := range map[string]string{
		"CN=Slack Technologies, Inc., O=Slack Technologies, Inc., L=San Francisco, C=US": "slack technologies",
		"O=A, OU=Other, CN=B": "a|b", "Just A Name": "just a name", "L=Dubai": "", "": "", "C=US,O=Zoom Video Communications\\, Inc.": "zoom video communications",
	} {
		var got []string
		for _, w := range organisations(subject) {
			got = append(got, strings.Join(w, " "))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q: %q, want %q", subject, got, want)
		}
	}
}

// TestEvidenceIsOrderedAndNotRepeated shows the strongest first and each fact once.
func TestEvidenceIsOrderedAndNotRepeated(t *testing.T) {
	m := newMatcher(pigeons(t))
	_, evidence, _ := m.app(&program.Identity{Format: program.Desktop, Flatpak: "example.pigeon.Desktop", DesktopID: []string{"pigeon", "pigeon"}, Binary: "pigeon-bin"})
	seen := map[string]bool{}
	for i, e := range evidence {
		if seen[e.Fact] || i > 0 && e.Strength > evidence[i-1].Strength {
			t.Errorf("got %+v", evidence)
		}
		seen[e.Fact] = true
	}
	if len(evidence) != 3 {
		t.Errorf("got %+v", evidence)
	}
}

func TestCombine(t *testing.T) {
	for _, c := range []struct {
		strengths []event.Confidence
		want      event.Confidence
	}{
		{nil, 0}, {[]event.Confidence{800}, 800}, {[]event.Confidence{800, 500}, 900}, {[]event.Confidence{990, 990, 990}, 990},
	} {
		var evidence []event.Evidence
		for _, s := range c.strengths {
			evidence = append(evidence, event.Evidence{Strength: s})
		}
		if got := combine(evidence); got < c.want-1 || got > c.want+1 {
			t.Errorf("%v: got %d, want %d", c.strengths, got, c.want)
		}
	}
}

func TestWithin(t *testing.T) {
	known := map[string]string{"a.deb": "pigeon"}
	for _, c := range []struct {
		inside, app string
		want        bool
	}{
		{"a.deb!/usr/bin/x", "pigeon", true}, {"a.deb!/usr/bin/x", "owl", false}, {"a.debian", "pigeon", false}, {"", "pigeon", false}, {"a.deb!/x", "", false},
	} {
		if got := within(known, c.inside, c.app); got != c.want {
			t.Errorf("%q as %q: %v", c.inside, c.app, got)
		}
	}
	if !within(map[string]string{"": "pigeon"}, "usr/bin/x", "pigeon") {
		t.Error("a member of the outermost file is reported again")
	}
}

func TestPublisher(t *testing.T) {
	for _, c := range []struct {
		id   program.Identity
		want string
	}{
		{program.Identity{Signers: []program.Signer{{}, {Subject: "O=A"}}, Company: "B"}, "O=A"},
		{program.Identity{Company: "B", Maintains: "C"}, "B"}, {program.Identity{Maintains: "C"}, "C"}, {program.Identity{}, ""},
	} {
		if got := publisher(&c.id); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestName(t *testing.T) {
	if text, base := Name("fine"); text != "fine" || base != "" {
		t.Errorf("%q, %q", text, base)
	}
	if text, base := Name("bad\xff"); !strings.HasPrefix(text, "bad") || base != "YmFk/w==" {
		t.Errorf("%q, %q", text, base)
	}
}
