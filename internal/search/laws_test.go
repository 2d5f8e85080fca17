package search_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/chaperone-im/chaperone/internal/search"
)

// scripts are texts of which each query finds the ones it lists, and no other.
func scripts() []string {
	return []string{
		0: "Ångström and straße", 1: "会议在北京大学，明天上午", 2: "東京タワー now", 3: "שָׁלוֹם עולם, פגישה מחר", 4: "مَرْحَبًا بالعالم", 5: "Ёлка и Йод", 6: "ΛΟΓΟΣ",
		7: "👩\u200d💻 ok 👍", 8: "ﬁnance ＡＢＣ１２", 9: "a\u202eevil\u202c word", 10: "soft\u00adhyphen zero\u200bwidth", 11: "한국어로 말해요", 12: "re\u0301sume\u0301",
	}
}

func TestMatchInEveryScript(t *testing.T) {
	for query, want := range map[string][]int{
		"angstrom": {0}, "STRASSE": {0}, "strass*": {0}, "北京": {1}, "京北": nil, `"大学 明天"`: {1}, "会 NEAR/1 在": {1}, "東京": {2}, "北京 OR 東京": {1, 2}, "京": {1, 2},
		"שלום": {3}, `"שלום עולם"`: {3}, `"עולם שלום"`: nil, "מח*": {3}, "مرحبا": {4}, "مَرْحَبًا": {4}, "بالعال*": {4}, "елка": {5}, "ЙОД": {5}, "иод": {5}, "λογος": {6}, "λόγοσ": {6},
		"👍": {7}, "👩": {7}, "💻 NOT 👎": {7}, "finance": {8}, "abc12": {8}, "ａｂｃ１２": {8}, "evil": {9}, `"evil word"`: {9}, "한국": {11}, "국한": nil, "resume": {12}, "résumé": {12},
	} {
		var got []int
		for i, text := range scripts() {
			if matches(t, query, say(text)) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", query, got, want)
		}
	}
}

// TestTokensAreWhatQueriesAre: every token of a text finds it, alone, as a prefix of itself, in a phrase with its neighbour, and within a
// field; and every token is one that a query can hold.
func TestTokensAreWhatQueriesAre(t *testing.T) {
	for _, text := range scripts() {
		tokens := search.Tokens(text)
		for i, token := range tokens {
			queries := []string{`"` + token + `"`, `"` + token + `"*`, "(" + token + ")"}
			if i > 0 {
				queries = append(queries, fmt.Sprintf("%q", tokens[i-1]+" "+token), fmt.Sprintf(`"%s" NEAR/0 "%s"`, tokens[i-1], token))
			}
			for _, q := range queries {
				if !matches(t, q, say(text)) {
					t.Errorf("%s does not find %q", q, text)
				}
			}
			if again := search.Tokens(token); len(again) != 1 || again[0] != token {
				t.Errorf("the token %q of %q is itself read as %q", token, text, again)
			}
			if strings.ContainsFunc(token, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.IsUpper(r) }) {
				t.Errorf("%q gives the token %q", text, token)
			}
		}
	}
}

// term makes a random query of the words of the scripts.
func term(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		words := []string{"and", "straße", "北京", "大", "שלום", "مرحبا", "иод", "ok", "👍", "evil", "wor*", `"now"`, "nothing", "from:alice", "to:bob", "kind:message", "*", "after:2026-03-01", "before:2026-03-01T12:00:00Z"}
		return words[r.IntN(len(words))]
	}
	a, b := term(r, depth-1), term(r, depth-1)
	return []string{"(" + a + " AND " + b + ")", "(" + a + " OR " + b + ")", "(" + a + " " + b + ")", "(NOT " + a + ")"}[r.IntN(4)]
}

// TestLawsOfLogic: what must be equal is, for random queries.
func TestLawsOfLogic(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	for range 400 {
		a, b, c := term(r, 2), term(r, 2), term(r, 2)
		for _, law := range [][2]string{
			{a + " AND " + b, b + " AND " + a}, {a + " OR " + b, b + " OR " + a}, {"NOT NOT " + a, a}, {a + " OR " + a, a}, {a + " AND " + a, a}, {a + " " + b, a + " AND " + b},
			{"NOT (" + a + " AND " + b + ")", "(NOT " + a + ") OR (NOT " + b + ")"}, {"NOT (" + a + " OR " + b + ")", "(NOT " + a + ") AND (NOT " + b + ")"},
			{a + " AND (" + b + " OR " + c + ")", "(" + a + " AND " + b + ") OR (" + a + " AND " + c + ")"}, {a + " NOT " + b, a + " AND (NOT " + b + ")"},
		} {
			for _, text := range scripts() {
				if x, y := matches(t, law[0], say(text)), matches(t, law[1], say(text)); x != y {
					t.Fatalf("%s is %v and %s is %v of %q", law[0], x, law[1], y, text)
				}
			}
		}
	}
}

// TestHostileQueriesAreRefusedOrBounded: a query is answered or is a mistake that says where, in few words, whatever it is.
func TestHostileQueriesAreRefusedOrBounded(t *testing.T) {
	for _, q := range []string{
		strings.Repeat("(", 100_000), strings.Repeat("NOT ", 100_000), strings.Repeat("a OR ", 100_000) + "a", strings.Repeat("\"", 99_999), strings.Repeat("x", 1<<20), strings.Repeat("a* ", 100_000),
		strings.Repeat("a NEAR/9 ", 10_000) + "a", "from:" + strings.Repeat("x", 1<<20), strings.Repeat("from:a ", 50_000), strings.Repeat("(a ", 3000) + strings.Repeat(")", 3000), "after:" + strings.Repeat("9", 5000), "a NEAR/" + strings.Repeat("9", 5000) + " b",
		strings.Repeat("北", 1<<18), strings.Repeat("\xff", 1<<16), strings.Repeat("\u0301", 1<<16), strings.Repeat("é\u0301", 1<<15),
	} {
		e, err := search.Parse(q)
		if err == nil {
			nodes := 0
			e.Walk(func(*search.Expr) { nodes++ })
			if nodes > 10_000 {
				t.Errorf("%.20q… has %d parts", q, nodes)
			}
			e.Match(search.TermsOf(say("a b c")), say("").Event.Time)
			continue
		}
		var mistake *search.SyntaxError
		if !errors.As(err, &mistake) || mistake.Pos < 0 || mistake.Pos > len(q) || len(err.Error()) > 400 {
			t.Errorf("%.20q…: %.200v", q, err)
		}
	}
}

// TestSyntaxErrorsSayWhere points at the place in characters, not bytes.
func TestSyntaxErrorsSayWhere(t *testing.T) {
	for q, want := range map[string]string{`北京 (`: "character 5", `שלום "open`: "character 6", `é )`: "character 3"} {
		if _, err := search.Parse(q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", q, err, want)
		}
	}
}
