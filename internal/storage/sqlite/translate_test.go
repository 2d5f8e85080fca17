package sqlite

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/search"
)

// TestTranslate says what queries become in FTS5's language, and which of them it says exactly.
func TestTranslate(t *testing.T) {
	for query, want := range map[string]clause{
		"":                          {every, "", true},
		"Word":                      {some, `text:"word"`, true},
		"pre*":                      {some, `text:"pre"*`, true},
		`"a b"`:                     {some, `text:"a b"`, true},
		"a NEAR/3 b*":               {some, `text:NEAR("a" "b"*,3)`, true},
		"from:alice":                {some, `facets:"from=alice"`, true},
		`file:"a'b"`:                {some, `facets:"file=a'b"`, true},
		"a b":                       {some, `(text:"a" AND text:"b")`, true},
		"a OR b":                    {some, `(text:"a" OR text:"b")`, true},
		"a NOT b NOT c":             {some, `((text:"a") NOT (text:"b" OR text:"c"))`, true},
		"NOT a":                     {some, `(facets:"any=1" NOT text:"a")`, true},
		"NOT a NOT b":               {some, `((facets:"any=1") NOT (text:"a" OR text:"b"))`, true},
		"a *":                       {some, `(text:"a")`, true},
		"a OR *":                    {every, "", true},
		"NOT *":                     {never, "", true},
		"a NOT *":                   {never, "", true},
		"a OR after:2024":           {every, "", false},
		"a (b OR after:2024)":       {some, `(text:"a")`, false},
		"a NOT after:2024":          {some, `(text:"a")`, false},
		"NOT (a OR NOT after:2024)": {some, `(facets:"any=1" NOT (text:"a"))`, false},
	} {
		e, err := search.Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := translate(e, false); got.sense != want.sense || got.text != want.text || got.exact != want.exact && got.sense != never {
			t.Errorf("%s gives %+v, want %+v", query, got, want)
		}
	}
}

// TestQuoting keeps whatever people type inside its quotes.
func TestQuoting(t *testing.T) {
	if got, want := phrase([]string{`a"b`, `""`}, true), `"a""b """""*`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("2026-03-01T08:00:00.000000000Z,0195")
	f.Add(",")
	f.Add("2026-03-01T08:00:00.000000000Z,a,b")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlace(s)
		if err != nil {
			return
		}
		again, err := parsePlace(p.String())
		if err != nil || again != p {
			t.Fatalf("%q became %q (%v)", s, p, err)
		}
	})
}
