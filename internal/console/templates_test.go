package console

import (
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/jba/templatecheck"
)

var testNoon = time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)

// TestTemplatesFitTheirData type-checks every template with what its page gives it.
func TestTemplatesFitTheirData(t *testing.T) {
	c, err := New(Deps{})
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]any{
		"overview": overviewData{}, "messengers": messengersData{}, "people": peopleData{}, "person": personData{}, "conversations": conversationsData{}, "conversation": conversationData{},
		"events": eventsData{}, "record": archive.Record{}, "search": searchData{}, "holds": holdsData{}, "policy": policyData{}, "health": []health.Item{}, "ledger": ledgerData{},
		"accounts": accountsData{}, "settings": settingsData{}, "purpose": purposeData{}, "signin": signInData{}, "link": "", "message": "",
	}
	for name, page := range c.pages {
		d, ok := data[name]
		if !ok {
			t.Errorf("%s: no data to check it with", name)
			continue
		}
		if err := templatecheck.CheckHTML(page, frame{Data: d}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := templatecheck.CheckHTML(page.Lookup("main"), frame{Data: d}); err != nil && page.Lookup("main") != nil {
			t.Errorf("%s: main: %v", name, err)
		}
	}
	some := c.pages["record"]
	for name, d := range map[string]any{"records": []archive.Record{}, "verdictof": archive.Record{}, "judged": archive.Record{}, "why": archive.Record{}, "evidence": &event.Event{}, "hits": &event.Event{}, "told": event.Verdict{}, "narrow": filterForm{}, "verdict": event.Allow} {
		if err := templatecheck.CheckHTML(some.Lookup(name), d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSummaries(t *testing.T) {
	c := &Console{Deps: Deps{Apps: map[string]string{"whatsapp": "WhatsApp"}}}
	for want, r := range map[string]archive.Record{
		"content destroyed":                {Erased: true, Event: &event.Event{}},
		"took the message back":            {Event: &event.Event{Kind: event.Retraction}},
		"read":                             {Event: &event.Event{Kind: event.Delivery, Phase: "read"}},
		"file a.pdf":                       {Event: &event.Event{Content: event.Content{Files: []event.File{{Name: "a.pdf"}}}}},
		"WhatsApp chat to 1.2.3.4:443 web": {Event: &event.Event{Content: event.Content{Flow: &event.Flow{App: "whatsapp", Service: "chat", Server: "1.2.3.4:443", Name: "web"}}}},
		"unknown to 1.2.3.4:443":           {Event: &event.Event{Content: event.Content{Flow: &event.Flow{Server: "1.2.3.4:443"}}}},
		"GET https://x/":                   {Event: &event.Event{Content: event.Content{Web: &event.Web{Method: "GET", URL: "https://x/"}}}},
		"call offered audio":               {Event: &event.Event{Kind: event.Call, Phase: event.CallOffered, Content: event.Content{CallDetail: &event.CallDetail{Media: "audio"}}}},
		"unavailable from 2026-11-24 07:00:00 to never": {Event: &event.Event{Kind: event.Gap, Reason: "unavailable", Time: testNoon}},
	} {
		if got := c.summary(r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPlainShowsWhatHides(t *testing.T) {
	for in, want := range map[string]string{
		"<p>é 👍\n\tok</p>":     "<p>é 👍\n\tok</p>",
		"a\u202egpj.exe":       "a[U+202E]gpj.exe",
		"\x1b[31m":             "\u241b[31m",
		"x\u2066y\u2069\u0085": "x[U+2066]y[U+2069][U+0085]",
		"caf\xe9":              "caf\ufffd",
		"\u200fשלום":           "\u200fשלום",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSmallWords(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 190_044_160: "190.0 MB", 5_000_000_000: "5.0 GB"} {
		if got := size(in); got != want {
			t.Errorf("size(%d) = %s", in, got)
		}
	}
	if got := cut("ééé", 2); got != "éé…" {
		t.Errorf("cut is %s", got)
	}
	if got := cut("éé", 2); got != "éé" {
		t.Errorf("cut is %s", got)
	}
	many := make([]event.Party, 9)
	for i := range many {
		many[i].Handle = "x"
	}
	if got := parties(many); got != strings.Repeat("x, ", 6)+"and 3 more" {
		t.Errorf("parties are %s", got)
	}
}

func TestBarsFillThePicture(t *testing.T) {
	b := bars([]archive.DayCount{{Day: "2026-11-24", Action: event.Allow, Records: 1000}, {Day: "2026-11-24", Action: event.Block, Records: 1}, {Day: "2026-11-23", Action: event.Hold, Records: 2}}, testNoon)
	last := b[len(b)-1]
	if len(b) != trendDays || last.Day != "2026-11-24" || last.Block != 2 || last.BlockY < 0 || last.AllowY+last.Allow != barHeight {
		t.Errorf("the last bar is %+v", last)
	}
	if before := b[len(b)-2]; before.Hold != 2 || before.HoldY != barHeight-2 {
		t.Errorf("the bar before is %+v", before)
	}
}
