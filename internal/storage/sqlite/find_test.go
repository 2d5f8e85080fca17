package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// ids runs a query and returns what it finds.
func ids(t testing.TB, s *sqlite.Store, query string) []event.ID {
	t.Helper()
	e, err := search.Parse(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var out []event.ID
	for r, err := range s.Find(t.Context(), e, "") {
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		out = append(out, r.Event.ID)
	}
	n, err := s.Count(t.Context(), e)
	if err != nil || n != len(out) {
		t.Fatalf("%s: count says %d (%v), the list has %d", query, n, err, len(out))
	}
	return out
}

// oracle answers a query by looking at every record.
func oracle(t testing.TB, all []archive.Record, query string) []event.ID {
	t.Helper()
	e, err := search.Parse(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var out []event.ID
	for _, r := range all {
		if e.Finds(search.TermsOf(r), r.Event.Time) {
			out = append(out, r.Event.ID)
		}
	}
	return out
}

func everything(t testing.TB, s *sqlite.Store) []archive.Record {
	t.Helper()
	var all []archive.Record
	f := archive.Filter{Kinds: []event.Kind{event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Delivery,
		event.FlowSeen, event.FindingHit, event.VerdictSet, event.Act}}
	for r, err := range s.Select(t.Context(), f, "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Record)
	}
	return all
}

// queries are written by hand; randomQuery joins them.
func queries() []string {
	return []string{
		"", "*", "offline", "OFFLINE", "take", "angstrom", "Ångström", "ete", "北京", "京大", "大学北", `"take this"`, `"this take"`, "off*", "北*", "👍", "#deal", "deal", "@bob",
		"take NEAR/1 offline", "take NEAR/0 this", `"take this" NEAR/3 offline`, "del* NEAR/5 this", "NOT take", "take NOT offline", "NOT NOT take",
		"take OR kind:delivery", "NOT kind:act", "(take OR kind:act) NOT kind:delivery", "kind:act OR kind:delivery", "take (kind:act OR kind:message)", "* OR kind:act after:2024", "take NOT kind:delivery",
		"from:alice", "from:alice@example.org", "from:ali*", `from:"alice example"`, "from:jose", "to:bob", "person:alice", "person:laptop-1", "person:10.0.0.1", "room:desk@rooms.example.org",
		"connector:irc", "kind:edit", "kind:act", "kind:delivery", "verdict:block", "verdict:quarantine", "rule:cards", "rule:venue", "rule:reviewer", "has:file", "has:link", `file:"Q3 report.pdf"`, "file:q3*",
		"app:whatsapp", "whatsapp", "web.whatsapp.com", "holiday.exe", "host:laptop-2", "after:2026-03-01T08:02", "before:2026-03-01T08:02:30", "after:2026-03-01T08:01:00.5Z", "after:2027", "before:1960", "after:1960",
		"NOT after:2026-03-01T08:02", "(take OR before:2026-03-01T08:01)", "NOT (take OR after:2026-03-01T08:03)", "nothinglikeit", "content.read",
	}
}

func randomQuery(rng *rand.Rand, depth int) string {
	q := queries()[2:]
	if depth == 0 || rng.IntN(3) == 0 {
		return q[rng.IntN(len(q))]
	}
	a, b := randomQuery(rng, depth-1), randomQuery(rng, depth-1)
	switch rng.IntN(4) {
	case 0:
		return "(" + a + " OR " + b + ")"
	case 1:
		return "(" + a + ") NOT (" + b + ")"
	case 2:
		return "NOT (" + a + ")"
	}
	return "(" + a + ") (" + b + ")"
}

// TestFindAnswersAsMatchDoes compares the index with the definition of the language, record by record, on queries of every kind.
func TestFindAnswersAsMatchDoes(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	if err := s.Apply(t.Context(), archivetest.Story(11, 400)); err != nil {
		t.Fatal(err)
	}
	all := everything(t, s)
	check := func(q string) {
		t.Helper()
		if got, want := ids(t, s, q), oracle(t, all, q); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: found %d, want %d", q, len(got), len(want))
		}
	}
	for _, q := range queries() {
		check(q)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	for range 120 {
		check(randomQuery(rng, 3))
	}
	found := 0
	for _, q := range queries() {
		if len(oracle(t, all, q)) > 0 {
			found++
		}
	}
	if found < 50 {
		t.Errorf("only %d of the queries find anything", found)
	}
}

// TestManyInOneSecond orders more records of one second than are fetched at a time.
func TestManyInOneSecond(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	var entries []archive.Entry
	for i := range 1500 {
		e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: at.Add(time.Duration(i*7919%1500) * time.Microsecond), Connector: "irc",
			Content: event.Content{Text: fmt.Sprintf("take %d", i)}}
		entries = append(entries, archivetest.Entry(i, e, false))
	}
	if err := s.Apply(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	all := everything(t, s)
	if got, want := ids(t, s, "take"), oracle(t, all, "take"); len(got) != 1500 || !reflect.DeepEqual(got, want) {
		t.Errorf("found %d, want %d in order", len(got), len(want))
	}
}

// TestTimesAtTheEdges keeps events whose clocks are absurd.
func TestTimesAtTheEdges(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	var entries []archive.Entry
	for i, at := range []time.Time{{}, time.Unix(-1, 0), time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 999, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)} {
		e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: at.UTC(), Connector: "import", Room: event.Room{ID: "r", Name: "r"}, Content: event.Content{Text: "take"}}
		entries = append(entries, archivetest.Entry(i, e, false))
	}
	if err := s.Apply(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	all := everything(t, s)
	for _, q := range []string{"take", "before:1970", "after:1970", "before:1960", "after:9000", "after:0001 before:1980"} {
		if got, want := ids(t, s, q), oracle(t, all, q); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: found %v, want %v", q, got, want)
		}
	}
}
