package search_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

// say makes a record of a message.
func say(text string) archive.Record {
	return archive.Record{Action: event.Allow, Rule: "otherwise", Event: &event.Event{Kind: event.Message, Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Connector: "office",
		From: event.Party{ID: "h1", Handle: "alice@example.org", Person: "alice", Name: "Alice Example"}, To: []event.Party{{ID: "h2", Handle: "bob@other.org"}},
		Room: event.Room{}, Content: event.Content{Text: text}}}
}

func matches(t *testing.T, query string, r archive.Record) bool {
	t.Helper()
	e, err := search.Parse(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return e.Match(search.TermsOf(r), r.Event.Time)
}

// TestMatchWords lists, for one text, queries that find it and queries that do not.
func TestMatchWords(t *testing.T) {
	const text = "Let's take this offline before the board meets; the board is nervous. 会议在北京大学 #deal @bob 👍"
	for _, c := range []struct {
		query string
		want  bool
	}{
		{"take", true}, {"TAKE", true}, {"taken", false}, {"take offline", true}, {"take online", false}, {"take OR online", true}, {"online OR offsite", false},
		{`"take this offline"`, true}, {`"this take"`, false}, {`"board is"`, true}, {`"the board"`, true}, {`"let s take"`, true}, {"let's", true},
		{"tak*", true}, {"ake*", false}, {`"take th"*`, true}, {`"take of"*`, false},
		{"take NEAR/1 offline", true}, {"take NEAR/0 offline", false}, {"offline NEAR/1 take", true}, {"board NEAR/2 nervous", true}, {"take NEAR/3 nervous", false},
		{`"take this" NEAR/0 offline`, true}, {`"take this" NEAR/2 "the board"`, true}, {`"take this" NEAR/1 "the board"`, false}, {"tak* NEAR/1 offl*", true},
		{"board NOT nervous", false}, {"board NOT calm", true}, {"NOT calm", true}, {"NOT NOT board", true}, {"NOT (calm OR board)", false},
		{"北京", true}, {"京大", true}, {"大京", false}, {"会议在北", true}, {"北*", true},
		{"#deal", true}, {"deal", true}, {"#bob", false}, {"@bob", true}, {"👍", true}, {"👎", false},
		{"(take (offline OR online)) NOT (calm)", true},
	} {
		if got := matches(t, c.query, say(text)); got != c.want {
			t.Errorf("%s: %v, want %v", c.query, got, c.want)
		}
	}
}

func TestMatchFields(t *testing.T) {
	r := say("the report https://example.com/x")
	r.Event.Room = event.Room{ID: "r1", Name: "Desk@rooms.example.org"}
	r.Event.Files = []event.File{{Name: "Q3 Report.pdf", SHA256: "9F86D0"}}
	r.Event.Hits = []event.Hit{{Name: "payment-card"}}
	r.Event.NotChecked = []event.NotInspected{{Reason: event.ReasonEncrypted}}
	r.Event.Verdict.Obligations = []event.Obligation{{Kind: event.Review, Rule: "venue"}}
	r.Action, r.Rule = event.Quarantine, "reviewer"
	for _, c := range []struct {
		query string
		want  bool
	}{
		{"from:alice", true}, {"from:alice@example.org", true}, {`from:"alice example"`, true}, {"from:alic*", true}, {"from:bob@other.org", false}, {"from:example.org", false},
		{"to:bob@other.org", true}, {"to:alice", false}, {"to:bob", false}, {"person:alice", true}, {"person:bob@other.org", true}, {"person:h2", true}, {"person:carol", false},
		{"room:desk@rooms.example.org", true}, {"room:DESK*", true}, {"room:board", false}, {"connector:office", true}, {"connector:off", false},
		{"kind:message", true}, {"kind:edit", false}, {"verdict:quarantine", true}, {"verdict:allow", false}, {"rule:reviewer", true}, {"rule:venue", true}, {"rule:otherwise", false},
		{"has:file", true}, {"has:link", true}, {"has:hit", true}, {"has:not-inspected", true}, {`file:"q3 report.pdf"`, true}, {"file:q3*", true}, {"file:9f86d0", true}, {"file:report.pdf", false},
		{"hit:payment-card", true}, {"q3", true}, {`"report pdf"`, true},
		{"after:2026", true}, {"after:2026-03-01T12:00", true}, {"after:2026-03-01T12:00:01", false}, {"before:2026-03-01T12:00", false}, {"before:2026-03-02", true}, {"after:2026-03 before:2026-04", true},
	} {
		if got := matches(t, c.query, r); got != c.want {
			t.Errorf("%s: %v, want %v", c.query, got, c.want)
		}
	}
	for _, query := range []string{"has:file", "has:link", "has:hit", "has:not-inspected"} {
		if matches(t, query, say("nothing of the kind")) {
			t.Errorf("%s holds for a plain message", query)
		}
	}
}

// TestWordsDoNotReachAcrossParts keeps a phrase from beginning in the text and ending in a file's name.
func TestWordsDoNotReachAcrossParts(t *testing.T) {
	r := say("see the annual")
	r.Event.Files = []event.File{{Name: "report.pdf"}}
	if matches(t, `"annual report"`, r) || !matches(t, "annual report", r) {
		t.Error("parts are not apart, or not both searched")
	}
}

// TestEveryPlaneIsFound looks for records of the network and endpoint planes by what a person would type.
func TestEveryPlaneIsFound(t *testing.T) {
	host := event.Host{ID: "m1", Name: "Laptop-17", Address: "10.0.0.17", Person: "alice"}
	for _, c := range []struct {
		name    string
		kind    event.Kind
		content event.Content
		queries string
	}{
		{"flow", event.FlowSeen, event.Content{Flow: &event.Flow{Client: "10.0.0.17:5000", Server: "[2001:db8::1]:443", App: "whatsapp", Service: "chat", Name: "web.whatsapp.com"}},
			"whatsapp|web.whatsapp.com|chat|app:whatsapp|host:10.0.0.17|host:2001:db8::1|person:10.0.0.17|10.0.0.17"},
		{"question", event.DNSQuery, event.Content{Question: &event.Question{Name: "t.me", App: "telegram", Client: "10.0.0.17:53000", Answers: []string{"149.154.167.99"}}},
			"t.me|app:telegram|149.154.167.99|host:10.0.0.17"},
		{"request", event.WebRequest, event.Content{Web: &event.Web{Method: "GET", URL: "https://discord.com/app", App: "discord"}}, "discord|discord.com|app:discord"},
		{"program", event.FindingHit, event.Content{Program: &event.Program{Path: `C:\Users\a\holiday.exe`, App: "signal", Publisher: "CN=Signal Messenger, LLC", SHA256: "ABCD", Version: "7.1"}},
			`holiday.exe|app:signal|"signal messenger"|file:holiday.exe|file:abcd|7.1`},
		{"medium", event.MediaIn, event.Content{Media: &event.Media{Device: "sdb1", Label: "BACKUP", Serial: "X99"}}, "backup|sdb1|x99"},
		{"call", event.Call, event.Content{CallDetail: &event.CallDetail{Media: "video", Parties: []event.Party{{Handle: "carol@example.org"}}}}, "video|to:carol@example.org|person:carol@example.org"},
	} {
		r := archive.Record{Action: event.Block, Rule: "no-messengers", Event: &event.Event{Kind: c.kind, Host: host, Connector: "border", Content: c.content}}
		queries := append(strings.Split(c.queries, "|"), "host:laptop-17", "person:laptop-17", "person:alice", "person:m1", "verdict:block", "kind:"+string(c.kind))
		for _, q := range queries {
			if !matches(t, q, r) {
				t.Errorf("%s: not found by %s", c.name, q)
			}
		}
		if search.Summary(r.Event) == "" && c.kind != event.Call && c.kind != event.MediaIn {
			t.Errorf("%s: no summary", c.name)
		}
	}
}

func TestActsAreFoundByWhatWasDone(t *testing.T) {
	r := archive.Record{Event: &event.Event{Kind: event.Act, From: event.Party{Handle: "rita"}, Content: event.Content{Act: &event.ActDetail{Action: "hold.place", Object: "case-7",
		Purpose: "litigation", Details: []event.Fact{{Name: "person", Value: "alice"}}}}}}
	for _, q := range []string{"kind:act", "from:rita", "hold.place", "litigation", `"person alice"`, "case-7"} {
		if !matches(t, q, r) {
			t.Errorf("not found by %s", q)
		}
	}
	if !slices.Contains(search.TermsOf(r).Facets, "act=hold.place") {
		t.Error("no facet of the act")
	}
}

// TestActsAndDeliveriesAreFoundWhereAskedFor: they speak of other records, and no part of a query finds them that did not ask.
func TestActsAndDeliveriesAreFoundWhereAskedFor(t *testing.T) {
	of := map[byte]archive.Record{
		'm': {Event: &event.Event{Kind: event.Message, Content: event.Content{Text: "take lunch"}}},
		'o': {Event: &event.Event{Kind: event.Message, Content: event.Content{Text: "other"}}},
		'a': {Event: &event.Event{Kind: event.Act, Content: event.Content{Act: &event.ActDetail{Action: "content.read", Object: "search take"}}}},
		'd': {Event: &event.Event{Kind: event.Delivery, Content: event.Content{Text: "take"}}},
	}
	for query, want := range map[string]string{
		"take": "m", "*": "mo", "": "mo", "NOT lunch": "o",
		"kind:act": "a", "kind:delivery": "d", "kind:act OR kind:delivery": "ad", "take kind:act": "a", "lunch kind:act": "", "kind:act kind:delivery": "",
		"take OR kind:delivery": "md", "take OR kind:act": "ma", "other OR kind:delivery": "od", "* OR kind:act": "moa", "(take OR kind:message) kind:act": "a",
		"take (kind:act OR kind:message)": "ma", "(take OR kind:delivery) NOT lunch": "d", "take OR (kind:act lunch)": "m",
		"NOT kind:act": "mo", "NOT kind:delivery": "mo", "NOT kind:message": "", "take NOT kind:act": "m", "kind:act NOT take": "", "kind:act NOT lunch": "a",
		"NOT (kind:act OR take)": "o", "kind:act NOT kind:act": "", "act kind:edit": "", "take OR NOT kind:act": "mo", "NOT take OR kind:delivery": "od",
	} {
		e, err := search.Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		asks, only := e.Administrative()
		got := ""
		for _, k := range "moad" {
			r := of[byte(k)]
			if finds := e.Finds(search.TermsOf(r), time.Time{}); finds {
				got += string(k)
			}
		}
		if got != want {
			t.Errorf("%s finds %q, want %q", query, got, want)
		}
		if strings.ContainsAny(got, "ad") && !asks || only && strings.ContainsAny(got, "mo") || only && !asks {
			t.Errorf("%s finds %q, and asks for acts: %v, for nothing else: %v", query, got, asks, only)
		}
	}
}

// TestErasedIsFoundByItsHeader has no words left.
func TestErasedIsFoundByItsHeader(t *testing.T) {
	r := say("a secret word")
	r.Erased = true
	for q, want := range map[string]bool{"secret": false, "kind:message": true, "person:h1": true, "connector:office": true, "*": true} {
		if got := matches(t, q, r); got != want {
			t.Errorf("%s: %v, want %v", q, got, want)
		}
	}
}

// TestTermsAreBounded makes a record of a crowd and of a book.
func TestTermsAreBounded(t *testing.T) {
	r := say(strings.Repeat("word ", 1<<17))
	for range 20_000 {
		r.Event.To = append(r.Event.To, event.Party{ID: event.RandomID(), Handle: event.RandomID()})
	}
	terms := search.TermsOf(r)
	if len(terms.Text) > 1<<15 || len(terms.Facets) > 1<<13 {
		t.Errorf("%d words, %d facets", len(terms.Text), len(terms.Facets))
	}
	if !slices.IsSorted(terms.Facets) {
		t.Error("facets are not sorted")
	}
}

func TestSpan(t *testing.T) {
	for query, want := range map[string][2]string{
		"x":                                      {"", ""},
		"after:2024":                             {"2024-01-01", ""},
		"x after:2024 before:2025 after:2024-06": {"2024-06-01", "2025-01-01"},
		"before:2025 before:2024-02":             {"", "2024-02-01"},
		"(after:2024 x) (before:2025)":           {"2024-01-01", "2025-01-01"},
		"after:2024 OR x":                        {"", ""},
		"NOT after:2024":                         {"", ""},
	} {
		e, err := search.Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		from, to := e.Span()
		for i, at := range []time.Time{from, to} {
			got := ""
			if !at.IsZero() {
				got = at.Format(time.DateOnly)
			}
			if got != want[i] {
				t.Errorf("%s: end %d of its span is %q, want %q", query, i, got, want[i])
			}
		}
	}
}

// TestHostileText does not make near take long: all words are the same.
func TestHostileText(t *testing.T) {
	r := say(strings.Repeat("a ", 1<<15))
	if !matches(t, "a NEAR/100 a", r) || matches(t, "a NEAR/100 b", r) {
		t.Error("wrong answer")
	}
}

// TestQuoted: any value comes back from a query as it was put in.
func TestQuoted(t *testing.T) {
	for _, value := range []string{`case-7`, `the "Q3" case`, `"`, `""`, `a"`, `"a`, `back\slash`, `(x) OR "y"`, `*`, `a"*`, "日本 語"} {
		e, err := search.Parse("lunch matter:" + search.Quoted(value) + " after:2024")
		if err != nil || len(e.Args) != 3 || e.Args[1].Value != search.Fold(value) || e.Args[1].Prefix {
			t.Errorf("%s: %+v, %v", value, e, err)
		}
	}
	if e, err := search.Parse(`"a""b"`); err != nil || len(e.Args) != 2 {
		t.Errorf("two phrases side by side: %+v, %v", e, err)
	}
	if _, err := search.Parse(`matter:"a""`); err == nil || !strings.Contains(err.Error(), "character 8: this quotation mark is never closed") {
		t.Error(err)
	}
}
