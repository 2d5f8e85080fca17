package catalog_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
)

func shipped(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// first returns "app/service" of the first match, "" for none.
func first(matches []catalog.Match) string {
	if len(matches) == 0 {
		return ""
	}
	return matches[0].App + "/" + matches[0].Service
}

func TestByName(t *testing.T) {
	c := shipped(t)
	for host, want := range map[string]string{
		"web.telegram.org": "telegram/web", "WEB.Telegram.ORG.": "telegram/web", "a.b.telegram.org": "telegram/", "telegram.org": "telegram/",
		"nottelegram.org": "", "telegram.org.example.com": "", "org": "", "": "", ".": "", "..": "", "teams.skype.com": "teams/", "api.skype.com": "skype/",
		"talk.google.com": "google_hangouts/", "www.google.com": "", "gateway.messenger.live.com": "skype/", "login.live.com": "",
		"flightproxy.teams.microsoft.com": "teams/call", "outlook.office.com": "", "res.wx.qq.com": "wechat/", "www.qq.com": "",
	} {
		if got := first(c.ByName(host)); got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
		m, ok := c.Name(host)
		if ok != (want != "") || ok && m.App+"/"+m.Service != want {
			t.Errorf("Name(%q) is %+v, %t", host, m, ok)
		}
	}
	m := c.ByName("x.telegram.org")[0]
	want := event.Evidence{Fact: "name:telegram.org", Value: "x.telegram.org", Strength: event.High, Source: m.Evidence.Source}
	if m.Identity || m.Evidence != want || want.Source == "" {
		t.Errorf("match is %+v", m)
	}
}

func TestNamesOfOthersAreNotMessengers(t *testing.T) {
	c := shipped(t)
	for _, host := range []string{
		"www.microsoft.com", "login.microsoftonline.com", "lh3.googleusercontent.com", "d111111abcdef8.cloudfront.net", "graph.facebook.com", "www.facebook.com",
		"apis.google.com", "mail.google.com", "drive.google.com", "s3.amazonaws.com", "a.akadns.net", "x.cloudapp.net", "www.kakao.com", "update.microsoft.com",
	} {
		if got := c.ByName(host); got != nil {
			t.Errorf("%s is %s", host, first(got))
		}
	}
}

func TestByAddressIsNeverAboveLow(t *testing.T) {
	c := shipped(t)
	for addr, want := range map[string]string{
		"149.154.167.50": "telegram/", "::ffff:149.154.167.50": "telegram/", "2001:b28:f23d::1": "telegram/", "52.113.9.9": "skype_teams/",
		"192.0.2.1": "", "2001:db8::1": "", "127.0.0.1": "",
	} {
		got := c.ByAddress(netip.MustParseAddr(addr))
		if first(got) != want {
			t.Errorf("%s is %q, want %q", addr, first(got), want)
		}
		for _, m := range got {
			if m.Evidence.Strength > event.Low || m.Identity {
				t.Errorf("%s: %+v", addr, m)
			}
		}
	}
	if c.ByAddress(netip.Addr{}) != nil {
		t.Error("no address has a match")
	}
}

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestByPublisher(t *testing.T) {
	c := shipped(t)
	now := day("2026-01-01")
	for title, test := range map[string]struct {
		subject  string
		at       time.Time
		app      string
		identity bool
	}{
		"as signed":            {"CN=Telegram FZ-LLC, O=Telegram FZ-LLC, L=Dubai, C=AE", now, "telegram", true},
		"other order and case": {"C=ae,L=Dubai,o=TELEGRAM  FZ-LLC,cn=x", now, "telegram", true},
		"time unknown":         {"O=Telegram FZ-LLC", time.Time{}, "telegram", true},
		"after its time":       {"O=Telegram Messenger LLP", now, "telegram", false},
		"in its time":          {"O=Telegram Messenger LLP", day("2018-01-01"), "telegram", true},
		"on its last day":      {"O=Telegram Messenger LLP", day("2020-12-31").Add(23 * time.Hour), "telegram", true},
		"quoted comma":         {`CN="Slack Technologies, LLC", O="Slack Technologies, LLC", L=San Francisco`, now, "slack", true},
		"escaped comma":        {`O=Slack Technologies\, LLC,L=San Francisco`, now, "slack", true},
		"bare comma":           {"CN=Signal Messenger, LLC, O=Signal Messenger, LLC, L=Mountain View, S=California, C=US", now, "signal", true},
		"shared":               {"CN=Microsoft Corporation, O=Microsoft Corporation, L=Redmond", now, "skype", false},
		"somebody else":        {"O=Telegram FZ-LLC Fans", now, "", false},
		"name in other part":   {"OU=Telegram FZ-LLC, O=Evil", now, "", false},
		"empty":                {"", now, "", false},
	} {
		t.Run(title, func(t *testing.T) {
			got := c.ByPublisher(test.subject, test.at)
			i := slices.IndexFunc(got, func(m catalog.Match) bool { return m.App == test.app })
			switch {
			case test.app == "" && len(got) > 0:
				t.Errorf("found %+v", got)
			case test.app != "" && i < 0:
				t.Errorf("not found among %+v", got)
			case i >= 0 && got[i].Identity != test.identity:
				t.Errorf("identity is %t", got[i].Identity)
			}
		})
	}
}

func TestSharedPublishersNeedTheProduct(t *testing.T) {
	c := shipped(t)
	const microsoft = "CN=Microsoft Corporation, O=Microsoft Corporation, L=Redmond, S=Washington, C=US"
	for product, want := range map[string]string{"microsoft teams": "teams/", "Skype": "skype/", "Skype for Business": "skype_for_business/", "Microsoft Word": "", "": ""} {
		got := c.ByPublisherProduct(microsoft, product, day("2024-01-01"))
		if first(got) != want || len(got) > 1 {
			t.Errorf("%q is %+v, want %q", product, got, want)
		}
		if len(got) == 1 && (!got[0].Identity || got[0].Evidence.Strength != event.Exact) {
			t.Errorf("%q: %+v", product, got[0])
		}
	}
	if got := c.ByPublisherProduct(microsoft, "Skype", day("2009-01-01")); got != nil {
		t.Errorf("Microsoft signed Skype in 2009: %+v", got)
	}
}

func TestProgramLookUps(t *testing.T) {
	c := shipped(t)
	for title, test := range map[string]struct {
		got      []catalog.Match
		app      string
		identity bool
	}{
		"deb":           {c.ByPackage("deb", "telegram-desktop"), "telegram", true},
		"flatpak":       {c.ByPackage("flatpak", "org.telegram.desktop"), "telegram", true},
		"snap":          {c.ByPackage("snap", "signal-desktop"), "signal", true},
		"no manager":    {c.ByPackage("name", "telegram.org"), "", false},
		"bundle":        {c.ByBundle("RU.keepcoder.Telegram"), "telegram", true},
		"team":          {c.ByTeam("6N38VWS5BX"), "telegram", true},
		"shared team":   {c.ByTeam("UBF8T346G9"), "teams", false},
		"desktop":       {c.ByDesktop("org.telegram.desktop"), "telegram", false},
		"desktop file":  {c.ByDesktop("org.telegram.desktop.desktop"), "telegram", false},
		"exe":           {c.ByExe("telegram.EXE"), "telegram", false},
		"product":       {c.ByProduct("Telegram Desktop"), "telegram", false},
		"hash":          {c.ByHash("43260C749E53A2DD9EEDE590D81D4E7342EAB5C78092686DE919D947B4582D70"), "telegram", true},
		"other hash":    {c.ByHash("00"), "", false},
		"other package": {c.ByPackage("deb", "bash"), "", false},
	} {
		t.Run(title, func(t *testing.T) {
			if test.app == "" {
				if test.got != nil {
					t.Errorf("found %+v", test.got)
				}
				return
			}
			i := slices.IndexFunc(test.got, func(m catalog.Match) bool { return m.App == test.app })
			if i < 0 || test.got[i].Identity != test.identity {
				t.Errorf("matches are %+v", test.got)
			}
		})
	}
}

func TestByUpgradeCode(t *testing.T) {
	c, err := catalog.Load(files(map[string]string{"a": "id: a\nname: A\n" + dated + "programs: {windows: [{upgrade: [\"{39AF0813-FA7B-4860-ADBE-93B9B214B914}\"]}]}\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ByUpgradeCode("39af0813-fa7b-4860-adbe-93b9b214b914"); first(got) != "a/" || !got[0].Identity || len(c.Lint()) > 0 {
		t.Errorf("matches %+v, lint %v", got, c.Lint())
	}
}

func TestServiceNamesAreBareTokens(t *testing.T) {
	bare := map[string]bool{}
	for _, tok := range shipped(t).Tokens() {
		bare[tok.App+" "+tok.Text] = tok.BareName
		if tok.System == "" {
			t.Errorf("%+v has no system", tok)
		}
	}
	for token, want := range map[string]bool{"telegram tdesktop-palette": false, "telegram 149.154.167.50": true, "whatsapp web.whatsapp.com": true, "skype SkypeSetup": false} {
		if got, ok := bare[token]; !ok || got != want {
			t.Errorf("%s: listed %t, bare %t, want %t", token, ok, got, want)
		}
	}
}

func TestTraffic(t *testing.T) {
	for _, s := range shipped(t).Traffic() {
		if s.App == "" || s.ID == "" || s.Decoder == "" || s.Confidence == 0 || s.Source == "" {
			t.Errorf("signature lacks something: %+v", s)
		}
	}
	for _, test := range []struct {
		want, value string
		holds       bool
	}{{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"a*", "b", false}, {"", "x", true}, {"", "", false}} {
		if got := catalog.Holds(test.want, test.value); got != test.holds {
			t.Errorf("Holds(%q, %q) is %t", test.want, test.value, got)
		}
	}
}

func TestNamesCostNoAllocation(t *testing.T) {
	c := shipped(t)
	if n := testing.AllocsPerRun(100, func() { c.ByName("www.static.cdn.example-company.co.uk") }); n > 0 {
		t.Errorf("a miss costs %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { c.Name("Media.CDN.WhatsApp.net.") }); n > 0 {
		t.Errorf("Name costs %v allocations", n)
	}
}

func FuzzLookUps(f *testing.F) {
	f.Add("a.telegram.org.")
	f.Add(`CN="Slack Technologies, LLC", O=Slack Technologies\, LLC+OU=x`)
	f.Add("=,=\\")
	c := shipped(f)
	f.Fuzz(func(t *testing.T, s string) {
		c.ByName(s)
		c.ByPublisher(s, time.Time{})
		c.ByPublisherProduct(s, s, time.Time{})
		c.ByDesktop(s)
		c.ByUpgradeCode(s)
	})
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

func BenchmarkByNameHit(b *testing.B) {
	c := shipped(b)
	b.ReportAllocs()
	for b.Loop() {
		if c.ByName("media-mrs2-2.cdn.whatsapp.net") == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkNameHit(b *testing.B) {
	c := shipped(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Name("media-mrs2-2.cdn.whatsapp.net"); !ok {
			b.Fatal("not found")
		}
	}
}
