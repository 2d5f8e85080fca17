package catalog_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
)

const pigeon = `id: pigeon
name: Pigeon
sources: ["vendor, 2026-01"]
names:
  service: [pigeon.example, {suffix: api.pigeon.example, confidence: medium, source: "page, 2026-02"}]
  download: [get.pigeon.example]
  web: [web.pigeon.example]
  call: [turn.pigeon.example]
  login: [id.pigeon.example]
addresses: [{cidr: 198.51.100.0/24}, {cidr: 198.51.100.128/25, shared: true}, {cidr: "2001:db8:7::/48"}]
traffic:
  - {id: hello, transport: tcp, decoder: pigeon, match: {magic: "coo*"}, service: chat, confidence: high}
programs:
  windows:
    - exe: Pigeon.exe
      product: [Pigeon Desktop, Pigeon]
      upgrade: [0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0]
      publishers:
        - {subject: "O=Pigeon, Inc., C=US", from: 2020-01-01, to: 2024-12-31}
        - {subject: "CN=Giant Corp", shared: true}
      tokens: [PigeonCoreWindow, {text: pigeon.example, bare: true}]
  macos: [{bundle: example.pigeon.Mac, team: ABCDE12345}, {bundle: example.pigeon.Mini, team: ZZZZZ99999, shared_team: true}]
  linux: [{deb: [pigeon-desktop], rpm: [pigeon-rpm], snap: [pigeon-snap], flatpak: [example.pigeon.Pigeon], appimage: [Pigeon], desktop: [pigeon], binary: [pigeon]}]
  hashes: [{sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, version: "1.0"}]
  build_ids: [{id: 0b2588d040195d37334aa4581531976b266a29ad, version: "1.0"}]
`

const dove = `id: dove
name: Dove
sources: ["vendor, 2026-01"]
names: {service: [deep.api.pigeon.example, {suffix: cdn.example, shared: true}]}
programs: {windows: [{exe: pigeon.exe, product: [Dove], publishers: [{subject: "CN=Giant Corp", shared: true}]}]}
`

func birds(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load(files(map[string]string{"pigeon": pigeon, "dove": dove}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// told gives matches in words: app, fact, strength, and ! where it identifies.
func told(matches []catalog.Match) string {
	var out []string
	for _, m := range matches {
		words := m.App + " " + m.Evidence.Fact + " " + map[event.Confidence]string{event.Low: "low", event.Medium: "medium", event.High: "high", event.Exact: "exact"}[m.Evidence.Strength]
		if m.Service != "" {
			words += " " + m.Service
		}
		if m.Identity {
			words += "!"
		}
		out = append(out, words)
	}
	return strings.Join(out, "; ")
}

func TestNamesByLongestSuffix(t *testing.T) {
	c := birds(t)
	for host, want := range map[string]string{
		"pigeon.example":            "pigeon name:pigeon.example high",
		"PIGEON.Example.":           "pigeon name:pigeon.example high",
		"a.b.pigeon.example":        "pigeon name:pigeon.example high",
		"api.pigeon.example":        "pigeon name:api.pigeon.example medium",
		"x.api.pigeon.example":      "pigeon name:api.pigeon.example medium",
		"deep.api.pigeon.example":   "dove name:deep.api.pigeon.example high",
		"x.deep.api.pigeon.example": "dove name:deep.api.pigeon.example high",
		"get.pigeon.example":        "pigeon name:get.pigeon.example high download",
		"web.pigeon.example":        "pigeon name:web.pigeon.example high web",
		"eu.turn.pigeon.example":    "pigeon name:turn.pigeon.example high call",
		"id.pigeon.example":         "pigeon name:id.pigeon.example high login",
		"cdn.example":               "dove name:cdn.example low",
		"carrierpigeon.example":     "",
		"pigeon.example.org":        "",
		"example":                   "",
		"":                          "",
		".":                         "",
		"..":                        "",
		".pigeon.example":           "pigeon name:pigeon.example high",
		"pigeon..example":           "",
		"pigeon.example..":          "",
		strings.Repeat("a.", 119) + "pigeon.example": "pigeon name:pigeon.example high", // 252 bytes
		strings.Repeat("a.", 120) + "pigeon.example": "",                                // 254: no host name
		"pigeon.example\x00":                         "",
	} {
		if got := told(c.ByName(host)); got != want {
			t.Errorf("%.60q: %s, want %s", host, got, want)
		}
		m, ok := c.Name(host)
		if ok != (want != "") || ok && !strings.HasPrefix(want, m.App+" name:"+m.Suffix+" ") {
			t.Errorf("%.60q: name %+v %v, want %s", host, m, ok, want)
		}
		if ok && m.Shared != (m.Suffix == "cdn.example") {
			t.Errorf("%q: shared %v", host, m.Shared)
		}
	}
	if m := c.ByName("x.API.pigeon.example")[0]; m.Evidence.Value != "x.API.pigeon.example" || m.Evidence.Source != "page, 2026-02" {
		t.Errorf("evidence %+v", m.Evidence)
	}
	if m := c.ByName("pigeon.example")[0]; m.Evidence.Source != "vendor, 2026-01" {
		t.Errorf("evidence without a source of its own: %+v", m.Evidence)
	}
}

func TestAddressesByLongestRange(t *testing.T) {
	c := birds(t)
	for addr, want := range map[string]string{
		"198.51.100.0":           "pigeon address:198.51.100.0/24 low",
		"198.51.100.127":         "pigeon address:198.51.100.0/24 low",
		"198.51.100.128":         "pigeon address:198.51.100.128/25 low",
		"::ffff:198.51.100.255":  "pigeon address:198.51.100.128/25 low",
		"198.51.101.0":           "",
		"198.51.99.255":          "",
		"2001:db8:7::1":          "pigeon address:2001:db8:7::/48 low",
		"2001:db8:7:ffff::%eth0": "pigeon address:2001:db8:7::/48 low",
		"2001:db8:8::":           "",
		"::":                     "",
	} {
		if got := told(c.ByAddress(netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := c.ByAddress(netip.Addr{}); got != nil {
		t.Errorf("no address: %v", got)
	}
}

func TestProgramsByEachLookUp(t *testing.T) {
	c := birds(t)
	for name, test := range map[string]struct {
		found []catalog.Match
		want  string
	}{
		"product":              {c.ByProduct("Pigeon Desktop"), "pigeon product:Pigeon Desktop medium"},
		"product, other case":  {c.ByProduct("PIGEON"), "pigeon product:Pigeon medium"},
		"product, part":        {c.ByProduct("Pigeon Desk"), ""},
		"upgrade code":         {c.ByUpgradeCode("0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0"), "pigeon upgrade-code:0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0 exact!"},
		"upgrade code, braces": {c.ByUpgradeCode(" {0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0} "), "pigeon upgrade-code:0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0 exact!"},
		"upgrade code, other":  {c.ByUpgradeCode("1F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0"), ""},
		"deb":                  {c.ByPackage("deb", "pigeon-desktop"), "pigeon deb:pigeon-desktop exact!"},
		"rpm":                  {c.ByPackage("rpm", "Pigeon-RPM"), "pigeon rpm:pigeon-rpm exact!"},
		"snap":                 {c.ByPackage("snap", "pigeon-snap"), "pigeon snap:pigeon-snap exact!"},
		"flatpak":              {c.ByPackage("flatpak", "example.pigeon.Pigeon"), "pigeon flatpak:example.pigeon.Pigeon exact!"},
		"appimage":             {c.ByPackage("appimage", "pigeon"), "pigeon appimage:Pigeon high!"},
		"other manager":        {c.ByPackage("rpm", "pigeon-desktop"), ""},
		"no such manager":      {c.ByPackage("brew", "pigeon-desktop"), ""},
		"a kind, no manager":   {c.ByPackage("exe", "pigeon.exe"), ""},
		"bundle":               {c.ByBundle("example.pigeon.mac"), "pigeon bundle:example.pigeon.Mac exact!"},
		"bundle below":         {c.ByBundle("example.pigeon.mac.helper"), ""},
		"team":                 {c.ByTeam("ABCDE12345"), "pigeon team:ABCDE12345 high!"},
		"shared team":          {c.ByTeam("ZZZZZ99999"), "pigeon team:ZZZZZ99999 low"},
		"desktop":              {c.ByDesktop("pigeon"), "pigeon desktop:pigeon medium"},
		"desktop file":         {c.ByDesktop("pigeon.desktop"), "pigeon desktop:pigeon medium"},
		"desktop, other":       {c.ByDesktop("pigeons"), ""},
		"hash":                 {c.ByHash("9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"), "pigeon hash:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 exact!"},
		"build id":             {c.ByBuildID("0B2588D040195D37334AA4581531976B266A29AD"), "pigeon build-id:0b2588d040195d37334aa4581531976b266a29ad high"},
		"no build id":          {c.ByBuildID(""), ""},
		"no hash":              {c.ByHash(""), ""},
		"exe of two":           {c.ByExe("PIGEON.EXE"), "dove exe:pigeon.exe low; pigeon exe:Pigeon.exe low"},
		"binary":               {c.ByExe("pigeon"), "pigeon exe:pigeon low"},
	} {
		if got := told(test.found); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// TestPublishersInTheirTime: inside its window a publisher identifies, outside it is a weak hint.
func TestPublishersInTheirTime(t *testing.T) {
	c := birds(t)
	const fact = "pigeon publisher:O=Pigeon, Inc., C=US "
	for _, test := range []struct{ subject, at, want string }{
		{"O=Pigeon, Inc., C=US", "", fact + "high!"}, // nobody knows when
		{"O=Pigeon, Inc., C=US", "2020-01-01T00:00:00Z", fact + "high!"},
		{"O=Pigeon, Inc., C=US", "2019-12-31T23:59:59Z", fact + "low"},
		{"O=Pigeon, Inc., C=US", "2024-12-31T23:59:59Z", fact + "high!"}, // its last day is in it
		{"O=Pigeon, Inc., C=US", "2025-01-01T00:00:00Z", fact + "low"},
		{`CN="Pigeon Signing", O="Pigeon, Inc.", L=Loft, C=US`, "", fact + "high!"},
		{`c=us; o=PIGEON\, INC.`, "", fact + "high!"},
		{"C=US\nO=Pigeon,  Inc.", "", fact + "high!"},
		{"O=Pigeon, Inc.", "", ""}, // the country is missing
		{"O=Pigeon, Inc., C=DE", "", ""},
		{"O=Pigeon, C=US", "", ""},
		{"O=Not Pigeon, Inc., C=US", "", ""},
		{"CN=Pigeon, Inc., C=US", "", ""}, // the words in another part
		{"O=Fake, OU=O=Pigeon\\, Inc., C=US", "", ""},
		{"CN=Giant Corp", "", "dove publisher:CN=Giant Corp low; pigeon publisher:CN=Giant Corp low"},
		{"Giant Corp", "", "dove publisher:CN=Giant Corp low; pigeon publisher:CN=Giant Corp low"},
		{"", "", ""},
		{",,,;;\n", "", ""},
		{"O=Pigeon, Inc., C=US" + strings.Repeat(", OU=x", 1000), "", ""}, // longer than a subject may be
	} {
		var at time.Time
		if test.at != "" {
			at, _ = time.Parse(time.RFC3339, test.at)
		}
		if got := told(c.ByPublisher(test.subject, at)); got != test.want {
			t.Errorf("%.60q at %q: %s, want %s", test.subject, test.at, got, test.want)
		}
	}
}

// TestPublisherWithProduct: the two together identify, also where the publisher is shared.
func TestPublisherWithProduct(t *testing.T) {
	c := birds(t)
	in, late := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		subject, product string
		at               time.Time
		want             string
	}{
		{"CN=Giant Corp", "Dove", in, "dove publisher:CN=Giant Corp exact!"},
		{"CN=Giant Corp", "pigeon", in, "pigeon publisher:CN=Giant Corp exact!"},
		{"CN=Giant Corp", "Office", in, ""},
		{"CN=Giant Corp", "", in, ""},
		{"CN=Dwarf Corp", "Dove", in, ""},
		{"O=Pigeon, Inc., C=US", "PIGEON DESKTOP", in, "pigeon publisher:O=Pigeon, Inc., C=US exact!"},
		{"O=Pigeon, Inc., C=US", "Pigeon", late, ""},
		{"O=Pigeon, Inc., C=US", "Dove", in, ""},
	} {
		got := c.ByPublisherProduct(test.subject, test.product, test.at)
		if told(got) != test.want {
			t.Errorf("%s, %s: %s, want %s", test.subject, test.product, told(got), test.want)
		}
		if len(got) > 0 && got[0].Evidence.Value != test.subject+" / "+test.product {
			t.Errorf("evidence %+v", got[0].Evidence)
		}
	}
}

// TestListsForScanners: tokens and traffic, and that who gets them cannot change the catalog.
func TestListsForScanners(t *testing.T) {
	c := birds(t)
	tokens := c.Tokens()
	bare := map[string]bool{}
	for _, token := range tokens {
		bare[token.Text] = token.BareName
		if token.App != "pigeon" || token.System != "windows" {
			t.Errorf("%+v", token)
		}
	}
	if len(bare) != 2 || bare["PigeonCoreWindow"] || !bare["pigeon.example"] {
		t.Errorf("tokens %v", bare)
	}
	traffic := c.Traffic()
	if len(traffic) != 1 || traffic[0].App != "pigeon" || traffic[0].Match["magic"] != "coo*" || traffic[0].Confidence != event.High || traffic[0].Service != "chat" {
		t.Errorf("traffic %+v", traffic)
	}
	apps := c.Apps()
	tokens[0].Text, traffic[0].ID, apps[0].ID = "changed", "changed", "changed"
	if c.Tokens()[0].Text == "changed" || c.Traffic()[0].ID == "changed" || c.Apps()[0].ID == "changed" {
		t.Error("a list that was given away changed the catalog")
	}
}

// TestApps: by id, in order, with all their facts.
func TestApps(t *testing.T) {
	c := birds(t)
	var ids []string
	total := 0
	for _, app := range c.Apps() {
		ids = append(ids, app.ID)
		total += len(app.Facts())
	}
	if !slices.Equal(ids, []string{"dove", "pigeon"}) || total != c.Facts() {
		t.Errorf("apps %q, %d facts of %d", ids, total, c.Facts())
	}
	if a, ok := c.App("pigeon"); !ok || a.Name != "Pigeon" {
		t.Errorf("%+v %v", a, ok)
	}
	for _, id := range []string{"", "Pigeon", "pigeon.yaml"} {
		if a, ok := c.App(id); ok {
			t.Errorf("%q: %+v", id, a)
		}
	}
	if problems := append(c.Lint(), c.SelfTest()...); len(problems) != 0 {
		t.Errorf("problems of a good catalog: %v", problems)
	}
}

// TestBareTokens: a token that is only a name or an address of a service is bare without saying so.
func TestBareTokens(t *testing.T) {
	c, err := catalog.Load(files(map[string]string{"a": "id: a\nname: A\nnames: {service: [a.example]}\nprograms: {linux: [{tokens: [a.example, sub.a.example, \"https://a.example/x\", " +
		"\"wss://x.a.example\", 192.0.2.1, \"2001:db8::1\", AClientMain, a.example/x, other.example, {text: Common, bare: true}]}]}\n"}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"a.example": true, "sub.a.example": true, "https://a.example/x": true, "wss://x.a.example": true, "192.0.2.1": true,
		"2001:db8::1": true, "AClientMain": false, "a.example/x": false, "other.example": false, "Common": true}
	for _, token := range c.Tokens() {
		if bare, listed := want[token.Text]; !listed || bare != token.BareName {
			t.Errorf("%+v", token)
		}
		delete(want, token.Text)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestHolds(t *testing.T) {
	for _, test := range []struct {
		want, value string
		holds       bool
	}{
		{"coo", "coo", true}, {"coo", "Coo", false}, {"coo", "coos", false}, {"coo*", "coos", true}, {"coo*", "coo", true},
		{"coo*", "co", false}, {"*", "", true}, {"*", "x", true}, {"", "", false}, {"", "x", true},
	} {
		if got := catalog.Holds(test.want, test.value); got != test.holds {
			t.Errorf("%q of %q: %v", test.want, test.value, got)
		}
	}
}
