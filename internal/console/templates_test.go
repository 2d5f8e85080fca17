package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
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
		"events": eventsData{}, "record": recordData{}, "suspicious": suspiciousData{}, "search": searchData{}, "hosts": hostsData{}, "holds": holdsData{}, "hold": holdForm{}, "release": holdForm{}, "file": fileData{}, "policy": policyData{}, "health": []health.Item{}, "ledger": ledgerData{},
		"fleet": fleetData{}, "fleethost": FleetHost{}, "approvals": approvalsData{}, "campaigns": campaignsData{}, "fired": firedData{}, "learned": learnedData{},
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
		"joined as Al":                     {Event: &event.Event{Kind: event.Join, Content: event.Content{Text: "Al"}}},
		"read":                             {Event: &event.Event{Kind: event.Delivery, Phase: "read"}},
		"file a.pdf":                       {Event: &event.Event{Content: event.Content{Files: []event.File{{Name: "a.pdf"}}}}},
		"subject: 4111; xx":                {Event: &event.Event{Kind: event.Message, Content: event.Content{Subject: "4111", Text: "xx"}}},
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

func TestLikeFlowsAreOneLine(t *testing.T) {
	flow := func(app string, hours int, action event.Action) archive.Record {
		return archive.Record{Action: action, Event: &event.Event{Kind: event.FlowSeen, Time: testNoon.Add(time.Duration(-hours) * time.Hour), Content: event.Content{Flow: &event.Flow{App: app}}}}
	}
	text := archive.Record{Event: &event.Event{Kind: event.Message, Time: testNoon, Content: event.Content{Text: "hi"}}}
	lines := fold([]archive.Record{flow("a", 0, event.Block), flow("a", 1, event.Block), flow("a", 2, event.Block), flow("b", 3, event.Block), flow("b", 3, event.Allow), flow("b", 30, event.Allow), text, text})
	var got []int
	for _, l := range lines {
		got = append(got, len(l.More))
	}
	if !slices.Equal(got, []int{2, 0, 0, 0, 0, 0}) {
		t.Errorf("lines have %v more", got)
	}
	if since := lines[0].Since(); !since.Equal(testNoon.Add(-2 * time.Hour)) {
		t.Errorf("since %v", since)
	}
}

func TestAgo(t *testing.T) {
	c := &Console{Deps: Deps{Clock: clock.Func(func() time.Time { return testNoon })}}
	for back, want := range map[time.Duration]string{0: "just now", -time.Hour: "just now", 90 * time.Minute: "90 min ago", 47 * time.Hour: "47 h ago", 72 * time.Hour: "3 days ago", 4 * 366 * 24 * time.Hour: "4 years ago"} {
		if got := c.ago(testNoon.Add(-back)); got != want {
			t.Errorf("%v: %s, want %s", back, got, want)
		}
	}
	if got := c.ago(time.Time{}); got != "never" {
		t.Errorf("no time is %s", got)
	}
}

func TestRoomsOfAConnectorAreOneLine(t *testing.T) {
	got := byConnector([]archive.Capture{
		{Day: "d", Connector: "office", Stored: 9, Quarantined: map[string]int{"late": 1}},
		{Day: "d", Connector: "office", Room: "r", Stored: 1, Quarantined: map[string]int{"late": 2}, Excluded: map[string]int{"duplicate": 3}},
		{Day: "d", Connector: "import", Stored: 4},
	})
	if len(got) != 2 || got[0].Stored != 10 || got[0].Quarantined["late"] != 3 || got[0].Excluded["duplicate"] != 3 || got[0].Seen() != 16 || got[1].Seen() != 4 {
		t.Errorf("lines are %+v", got)
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
