package search_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

// kept is an index over a few records that answers as one must.
type keptRecords []archive.Record

func (k keptRecords) Find(_ context.Context, e *search.Expr, _ string) iter.Seq2[archive.Selected, error] {
	return func(yield func(archive.Selected, error) bool) {
		for _, r := range k {
			if e.Match(search.TermsOf(r), r.Event.Time) && !yield(archive.Selected{Record: r}, nil) {
				return
			}
		}
	}
}

func (k keptRecords) Count(ctx context.Context, e *search.Expr) (int, error) {
	n := 0
	for range k.Find(ctx, e, "") {
		n++
	}
	return n, nil
}

func veiledReader(t *testing.T, a *acts) (*archive.View, *pseudonym.Roll) {
	t.Helper()
	roll := pseudonym.New([]byte("key of the tests"))
	for _, who := range []string{"alice", "bob"} {
		roll.Handle(who+"@example.org", strings.ToUpper(who[:1])+who[1:]+" Meyer", who)
		roll.Host("pc-"+who, "", who)
	}
	v, err := archive.New(archive.Driver{}, a, clock.System{}).WithPseudonyms(roll, true).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "case 7")
	if err != nil {
		t.Fatal(err)
	}
	return v, roll
}

func records() keptRecords {
	say := func(id, from, text string) archive.Record {
		return archive.Record{Event: &event.Event{ID: event.ID(id), Kind: event.Message, From: event.Party{Handle: from + "@example.org", Person: from}, Content: event.Content{Text: text}}}
	}
	return keptRecords{say("1", "alice", "the deal with Bob is done"), say("2", "bob", "tell alice no deal"), say("3", "bob", "deal dealer")}
}

// TestSearchIsNoOracle: under the veil a search finds what it would in a record without names, and whom it names is disclosed, and nobody else.
func TestSearchIsNoOracle(t *testing.T) {
	_, roll := veiledReader(t, &acts{})
	alice := roll.Of(pseudonym.OfPerson("alice"), "")
	for query, want := range map[string]struct {
		ids       string
		disclosed string
	}{
		"deal":                      {"123", ""},
		"kind:message":              {"123", ""},
		"ali*":                      {"", ""},
		"from:ali*":                 {"", ""},
		"deal NOT ali*":             {"123", ""},
		"deal NOT (ali* OR bo*)":    {"123", ""},
		"alice":                     {"2", "alice"},
		"deal NOT alice":            {"13", "alice"},
		`"alice no"`:                {"2", "alice"},
		"alice NEAR/2 deal":         {"2", "alice"},
		"from:alice":                {"1", "alice"},
		"from:Alice@example.org":    {"1", "alice"},
		`person:"Alice Meyer"`:      {"", "alice"}, // these records have no name for display
		"from:bob alice":            {"2", "alice bob"},
		"from:" + alice:             {"1", ""},
		"person:" + alice:           {"1", ""},
		"NOT from:" + alice:         {"23", ""},
		strings.ToLower(alice):      {"12", ""},
		"deal NOT " + alice:         {"3", ""},
		"meyer":                     {"", ""},
		"matter:case-7":             {"1", ""},
		"deal NOT matter:case-7":    {"23", ""},
		"dealer":                    {"3", ""},
		"host:pc-bob":               {"", "pc-bob"},
		"verdict:block OR has:link": {"", ""},
	} {
		a := &acts{}
		v, _ := veiledReader(t, a)
		s := search.New(records(), matters{"case-7": {{"alice"}, {}, {"pc-alice"}}})
		var ids string
		for r, err := range s.Search(t.Context(), v, query, "", 0) {
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			ids += string(r.Event.ID)
			for _, name := range []string{"alice", "bob"} {
				if text := r.Event.Text + r.Event.From.Handle; strings.Contains(strings.ToLower(text), name) && !strings.Contains(want.disclosed, name) {
					t.Errorf("%s: named %s in %q", query, name, text)
				}
			}
		}
		if ids != want.ids {
			t.Errorf("%s found %q, want %q", query, ids, want.ids)
		}
		var disclosed []string
		for _, e := range a.list[1:] {
			disclosed = append(disclosed, e.Act.Details[0].Value)
		}
		slices.Sort(disclosed)
		if got := strings.Join(disclosed, " "); got != want.disclosed || a.list[0].Act.Object != "search "+query {
			t.Errorf("%s disclosed %q, want %q", query, got, want.disclosed)
		}
		if n, err := s.Count(t.Context(), v, query); err != nil || n != len(want.ids) {
			t.Errorf("%s: count %d (%v)", query, n, err)
		}
	}
}

// TestStoredIsForDeciding: it gives what Search finds, unveiled.
func TestStoredIsForDeciding(t *testing.T) {
	v, roll := veiledReader(t, &acts{})
	n := 0
	for r, err := range search.New(records(), nil).Stored(t.Context(), v, "from:"+roll.Of(pseudonym.OfPerson("bob"), "")) {
		if err != nil || r.Event.From.Person != "bob" {
			t.Errorf("%+v, %v", r, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
}
