package catalog_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
)

func TestDefault(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Lint() {
		t.Error(p)
	}
}

func TestNamesMatchOnLabelBoundaries(t *testing.T) {
	c := shipped(t)
	for host, want := range map[string]string{
		"web.telegram.org": "telegram/web", "WEB.Telegram.ORG.": "telegram/web", "a.b.telegram.org": "telegram/", "telegram.org": "telegram/",
		"nottelegram.org": "", "telegram.org.example.com": "", "org": "", "": "", ".": "", "teams.skype.com": "teams/", "api.skype.com": "skype/",
	} {
		got := ""
		if m := c.ByName(host); len(m) > 0 {
			got = m[0].App + "/" + m[0].Service
		}
		if got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

func shipped(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func BenchmarkByNameMiss(b *testing.B) {
	c := shipped(b)
	b.ReportAllocs()
	for b.Loop() {
		if c.ByName("www.static.cdn.example-company.co.uk") != nil {
			b.Fatal("found")
		}
	}
}

func BenchmarkName(b *testing.B) {
	c := shipped(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Name("media-mrs2-2.cdn.whatsapp.net"); !ok {
			b.Fatal("not found")
		}
	}
}
