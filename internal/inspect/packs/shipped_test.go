package packs_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
	"github.com/chaperone-im/chaperone/internal/inspect/packs"
	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
)

func buildAll(t *testing.T, apps ...string) *packs.Set {
	t.Helper()
	set, err := packs.Build(packs.Sources{Packs: packs.Names(), Apps: apps})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestSecrets: each kind of key by its form, and what only looks like one.
func TestSecrets(t *testing.T) {
	set := buildAll(t)
	letters := func(n int) string { return strings.Repeat("aB3", n/3+1)[:n] }
	for text, want := range map[string]string{
		"-----BEGIN PRIVATE KEY-----":                       "private-key",
		"-----BEGIN RSA PRIVATE KEY-----":                   "private-key",
		"-----BEGIN ENCRYPTED PRIVATE KEY-----":             "private-key",
		"-----BEGIN PGP PRIVATE KEY BLOCK-----":             "private-key",
		"-----BEGIN CERTIFICATE-----":                       "",
		"-----BEGIN RSA PUBLIC KEY-----":                    "",
		"ASIA" + strings.Repeat("Q", 16):                    "access-key",
		"AKIA" + strings.Repeat("Q", 15):                    "",
		"AKIA" + strings.Repeat("Q", 17):                    "",
		"xAKIA" + strings.Repeat("Q", 16):                   "",
		"ghp_" + letters(36):                                "github-token",
		"ghs_" + letters(40):                                "github-token",
		"github_pat_" + letters(22):                         "github-token",
		"ghx_" + letters(36):                                "",
		"ghp_" + letters(35):                                "",
		"xoxb-" + letters(12):                               "slack-token",
		"xoxz-" + letters(12):                               "",
		"AIza" + letters(35):                                "google-key",
		"AIza" + letters(34):                                "",
		"sk_live_" + letters(24):                            "stripe-key",
		"sk_test_" + letters(24):                            "",
		"npm_" + letters(36):                                "npm-token",
		"glpat-" + letters(20):                              "gitlab-token",
		"hf_" + letters(34):                                 "api-token",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "json-web-token",
		"eyJhbGciOiJIUzI1NiJ9.e30":                          "",
		"https://bob:hunter22@example.org/":                 "url-password",
		"https://bob@example.org/":                          "",
		"https://example.org:443/a:b@c":                     "",
	} {
		if got := strings.Join(hits(set, "look: "+text+" ok"), " "); got != want {
			t.Errorf("%.50s: hits %q, want %q", text, got, want)
		}
	}
}

// TestVenueKnowsTheCatalog: a messenger of the catalog is a way out, one that is also an everyday word only behind "on" or "to".
func TestVenueKnowsTheCatalog(t *testing.T) {
	set := buildAll(t, "Pigeon Post", "Wire", "XMPP")
	for text, venue := range map[string]bool{
		"let's continue on Pigeon Post": true,
		"pigeon post me later":          true,
		"what's your Pigeon Post":       true,
		"a pigeon sat on a post":        false,
		"reach me on Wire":              true,
		"wire me the money":             false,
		"let's talk on XMPP":            false, // the firm's own
		"let's talk on Owl Post":        false,
		"ping me via WhatsApp":          true,
		"I wrote about WhatsApp":        false,
		"off the record":                true,
		"OFF  THE\nRECORD":              true,
		"off record":                    false,
		"my personal email":             true,
		"the printer is offline":        false,
	} {
		got := slices.Contains(hits(set, text), "change-of-venue")
		if got != venue {
			t.Errorf("%q: venue %v", text, got)
		}
	}
	if slices.Contains(hits(buildAll(t), "let's continue on Pigeon Post"), "change-of-venue") {
		t.Error("a messenger that nobody named is known")
	}
}

// TestNamesOfHits are those of all parts, sorted, and the version follows each part.
func TestNamesOfHits(t *testing.T) {
	sources := packs.Sources{Packs: []string{"pii"}, Patterns: []pattern.Pattern{{Name: "a-code", Regex: "A[0-9]"}}, Lexicons: []lexicon.Lexicon{{Name: "zeal", Words: []string{"zeal"}}}}
	set, err := packs.Build(sources)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a-code", "iban", "payment-card", "us-ssn", "zeal"}; !slices.Equal(set.Hits, want) {
		t.Errorf("hits %q, want %q", set.Hits, want)
	}
	versions := map[string]bool{set.Version: true}
	for _, change := range []func(*packs.Sources){
		func(s *packs.Sources) { s.Packs = nil },
		func(s *packs.Sources) { s.Packs = []string{"pii", "venue"} },
		func(s *packs.Sources) { s.Packs, s.Apps = []string{"pii", "venue"}, []string{"Pigeon Post"} },
		func(s *packs.Sources) { s.Patterns = nil },
		func(s *packs.Sources) { s.Lexicons = nil },
	} {
		other := sources
		change(&other)
		set, err := packs.Build(other)
		if err != nil {
			t.Fatal(err)
		}
		if versions[set.Version] || len(set.Inspectors) != 2 {
			t.Errorf("%+v: version %s again, or %d inspectors", other, set.Version, len(set.Inspectors))
		}
		versions[set.Version] = true
	}
	if len(sources.Patterns) != 1 || len(sources.Lexicons) != 1 {
		t.Error("building changed its sources")
	}
}

// TestNothingToLookFor finds nothing.
func TestNothingToLookFor(t *testing.T) {
	set, err := packs.Build(packs.Sources{})
	if err != nil || len(set.Hits) > 0 || len(hits(set, "4111 1111 1111 1111 on WhatsApp")) > 0 {
		t.Errorf("%+v, %v", set, err)
	}
}

// TestBuildRefuses what its parts refuse, and names used twice.
func TestBuildRefuses(t *testing.T) {
	words := func(name string) []lexicon.Lexicon { return []lexicon.Lexicon{{Name: name, Words: []string{"x"}}} }
	for want, s := range map[string]packs.Sources{
		`unknown pack "": one of pii, secrets, venue`: {Packs: []string{""}},
		`unknown pack "../pii": one of`:               {Packs: []string{"../pii"}},
		`unknown pack "PII"`:                          {Packs: []string{"PII"}},
		`the name "payment-card" is used twice`:       {Packs: []string{"pii"}, Lexicons: words("payment-card")},
		`the name "own" is used twice`:                {Patterns: []pattern.Pattern{{Name: "own", Regex: "x"}}, Lexicons: words("own")},
		`the name "change-of-venue" is used twice`:    {Packs: []string{"venue"}, Lexicons: words("change-of-venue")},
		"pattern bad: regex":                          {Patterns: []pattern.Pattern{{Name: "bad", Regex: "("}}},
		`lexicon bad: "" has no word`:                 {Lexicons: []lexicon.Lexicon{{Name: "bad", Words: []string{""}}}},
	} {
		_, err := packs.Build(s)
		if err == nil || !strings.Contains(err.Error(), want) || strings.HasPrefix(want, "unknown") != errors.Is(err, packs.ErrUnknown) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestLoadedPacks say who they are.
func TestLoadedPacks(t *testing.T) {
	for _, name := range packs.Names() {
		p, err := packs.Load(name)
		if err != nil || p.Name != name || p.Version < 1 || len(p.Patterns)+len(p.Lexicons) == 0 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := packs.Load("nothing"); !errors.Is(err, packs.ErrUnknown) {
		t.Errorf("%v", err)
	}
}
