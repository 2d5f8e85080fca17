package lexicon_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
)

func inspectWith(t *testing.T, text string, lexicons ...lexicon.Lexicon) []event.Hit {
	t.Helper()
	in, err := lexicon.New(lexicons)
	if err != nil {
		t.Fatal(err)
	}
	return in.Inspect(context.Background(), &inspect.Item{Text: text}).Hits
}

// TestHitsAreCountedAndNamed: one hit for each lexicon, with its confidence, its count and at most so many places.
func TestHitsAreCountedAndNamed(t *testing.T) {
	a := lexicon.Lexicon{Name: "a", Words: []string{"moon", "moon base"}}
	b := lexicon.Lexicon{Name: "b", Words: []string{"base"}, Confidence: event.Medium}
	hits := inspectWith(t, "the moon base, a moon", a, b)
	if len(hits) != 2 || hits[0].Name != "a" || hits[0].Confidence != event.High || hits[1].Name != "b" || hits[1].Confidence != event.Medium || hits[1].Count != 1 {
		t.Errorf("%+v", hits)
	}
	many := inspectWith(t, strings.Repeat("moon ", 5000), a)
	if len(many) != 1 || many[0].Count != 5000 || len(many[0].Spans) > 100 {
		t.Errorf("%d hits, count %d, %d places", len(many), many[0].Count, len(many[0].Spans))
	}
	if hits := inspectWith(t, "", a, b); len(hits) != 0 {
		t.Errorf("in nothing: %+v", hits)
	}
}

// TestNearCountsWords: the window is in words, in any order, and needs every term.
func TestNearCountsWords(t *testing.T) {
	near := lexicon.Lexicon{Name: "n", Near: []lexicon.Near{{Terms: []string{"buy|sell", "before", "announce*"}, Within: 5}}}
	for text, want := range map[string]bool{
		"buy before they announce":                  true,
		"announcement: sell it before noon":         true,
		"before the announcement we all should buy": false, // seven words
		"buy before":                                   false,
		"announce before announcing":                   false,
		"buy it. Before they\n\nannounced":             true,
		"BUY \u200bbefore they аnnounce":               true, // an invisible and a look-alike letter
		strings.Repeat("buy ", 2000) + "sell announce": false,
	} {
		if got := len(inspectWith(t, text, near)) > 0; got != want {
			t.Errorf("%.60q: found %v, want %v", text, got, want)
		}
	}
}

// TestVersionFollowsTheWords: another list is another version, the same list the same, in every process.
func TestVersionFollowsTheWords(t *testing.T) {
	version := func(words ...string) string {
		in, err := lexicon.New([]lexicon.Lexicon{{Name: "x", Words: words}})
		if err != nil {
			t.Fatal(err)
		}
		return in.Version()
	}
	first, again, other := version("a", "b"), version("a", "b"), version("a", "c")
	if first != again || first == other || first == "" {
		t.Errorf("versions %q, %q, %q", first, again, other)
	}
}
