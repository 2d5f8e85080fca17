package pattern_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
)

// foundBy returns the texts that one pattern finds.
func foundBy(t *testing.T, p pattern.Pattern, text string) []string {
	t.Helper()
	if p.Name == "" {
		p.Name = "p"
	}
	in, err := pattern.New([]pattern.Pattern{p})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	points := []rune(text)
	for _, h := range in.Inspect(t.Context(), &inspect.Item{Text: text}).Hits {
		for _, s := range h.Spans {
			out = append(out, string(points[s.Start:s.End]))
		}
	}
	return out
}

// TestCardNetworks: the test numbers that the networks publish are found, numbers of nobody's range are not.
func TestCardNetworks(t *testing.T) {
	card := pattern.Pattern{Check: "card"}
	for number, want := range map[string]bool{
		"4222222222222":        true,  // Visa, 13
		"4012888888881881":     true,  // Visa
		"5105105105105100":     true,  // Mastercard
		"2223003122003222":     true,  // Mastercard, since 2017
		"371449635398431":      true,  // American Express
		"340000000000009":      true,  // American Express
		"6011111111111117":     true,  // Discover
		"3530111333300000":     true,  // JCB
		"30569309025904":       true,  // Diners Club
		"38520000023237":       true,  // Diners Club
		"6240008631401148":     true,  // UnionPay
		"6759649826438453":     true,  // Maestro
		"4111111111111112":     false, // check digit
		"411111111111111":      false, // 15 digits of Visa
		"1111111111111117":     false, // nobody's
		"9111111111111111":     false,
		"0000000000000000":     false,
		"37144963539843":       false,
		"41111111111111111111": false, // 20 digits
	} {
		if got := len(foundBy(t, card, "pay with "+number+" please")) == 1; got != want {
			t.Errorf("%s: found %v, want %v", number, got, want)
		}
	}
}

// TestCardSeparators: between groups people write many things, and hide them with others.
func TestCardSeparators(t *testing.T) {
	card := pattern.Pattern{Check: "card"}
	for separator, want := range map[string]bool{
		"": true, " ": true, "-": true, ".": true, "\u00a0": true, "\u2009": true, "\u202f": true, "\u2011": true, "\u2013": true, "\u200b": true,
		"\u200d": true, "\u2060": true, "\ufeff": true, "\u00ad": true,
		"  ": true, "/": true, ",": true, "\n": true, ":": true, " - ": true, "x": false, " or ": false, "    ": false, " -- ": false, "内": false, "é": false,
	} {
		text := strings.Join([]string{"4111", "1111", "1111", "1111"}, separator)
		got := foundBy(t, card, text)
		if (len(got) == 1 && got[0] == text) != want {
			t.Errorf("separated by %q: %q", separator, got)
		}
	}
	for digits, zero := range map[string]rune{"plain": '0', "full width": '０', "Arabic": '٠', "Persian": '۰', "bold": '𝟎', "double-struck": '𝟘', "monospace": '𝟶'} {
		text := strings.Map(func(r rune) rune { return zero + r - '0' }, "4111111111111111")
		if got := foundBy(t, card, "🙂 "+text); len(got) != 1 || got[0] != text {
			t.Errorf("%s digits: %q", digits, got)
		}
	}
}

// TestAccountNumbers: the examples of the registry by country, and near misses.
func TestAccountNumbers(t *testing.T) {
	iban := pattern.Pattern{Check: "iban"}
	for number, want := range map[string]bool{
		"NO93 8601 1117 947":                     true,
		"BE68 5390 0754 7034":                    true,
		"DK50 0040 0440 1162 43":                 true,
		"AT61 1904 3002 3457 3201":               true,
		"GB29 NWBK 6016 1331 9268 19":            true,
		"gb29nwbk60161331926819":                 true,
		"FR14 2004 1010 0505 0001 3M02 606":      true,
		"ES91 2100 0418 4502 0005 1332":          true,
		"IT60 X054 2811 1010 0000 0123 456":      true,
		"MT84 MALT 0110 0001 2345 MTLC AST0 01S": true,
		"SE45 5000 0000 0583 9825 7466":          true,
		"NO93 8601 1117 948":                     false, // check digits
		"NO93 8601 1117 9470":                    false, // goes on
		"NO93 8601 1117 94":                      false,
		"ZZ93 8601 1117 947":                     false,
		"xNO9386011117947":                       false,
		"NO93  8601 1117 947":                    true,
		"NO93    8601 1117 947":                  false, // four spaces
		"NO":                                     false,
		"NO93":                                   false,
	} {
		got := foundBy(t, iban, number)
		if (len(got) == 1 && got[0] == number) != want || !want && len(got) > 0 {
			t.Errorf("%s: %q", number, got)
		}
		if around := foundBy(t, iban, "to («"+number+"»), today"); len(around) != len(got) {
			t.Errorf("%s in a sentence: %q", number, around)
		}
	}
}

// TestSocialSecurityNumbers: areas, groups and serials that are given out, and the words that must stand before plain digits.
func TestSocialSecurityNumbers(t *testing.T) {
	ssn := pattern.Pattern{Check: "ssn"}
	for text, want := range map[string]string{
		"460-89-9847":               "460-89-9847",
		"001-01-0001":               "001-01-0001",
		"899-99-9999":               "899-99-9999",
		"460 89 9847.":              "460 89 9847",
		"460\u201389\u20139847":     "460\u201389\u20139847",
		"SSN: 460899847":            "460899847",
		"social security 460899847": "460899847",
		"Soc Sec no. 460899847":     "460899847",
		"460899847":                 "",
		"order 460899847":           "",
		"SSN" + strings.Repeat(" ", 41) + "460899847": "",
		"900-12-3456":     "",
		"460-00-9847":     "",
		"460-89-0000":     "",
		"219-09-9999":     "", // printed in an advertisement
		"460-899-847":     "",
		"46-089-9847":     "",
		"460.89.9847":     "", // a telephone number, more likely
		"a460-89-9847":    "",
		"460-89-9847b":    "",
		"460-89-98471":    "",
		"460-89-9847-123": "",
	} {
		if got := strings.Join(foundBy(t, ssn, text), "|"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestExpressionsWithChecks: the check looks at the digits of what the expression matched.
func TestExpressionsWithChecks(t *testing.T) {
	for _, test := range []struct{ regex, check, text, want string }{
		{`ID-[0-9]+`, "", "ID-1 ID-22 id-3", "ID-1|ID-22"},
		{`ID-[0-9]+`, "none", "ID-1", "ID-1"},
		{`(?i)id-[0-9]+`, "none", "ID-1 id-2", "ID-1|id-2"},
		{`[0-9]{4}-[0-9]`, "luhn", "7992-7 7992-1 0000-0", "7992-1|0000-0"},
		{`[0-9]{11}`, "luhn", "79927398713 79927398710", "79927398713"},
		{`#[0-9 ]{19}#`, "card", "#4111 1111 1111 1111# #4111 1111 1111 1112#", "#4111 1111 1111 1111#"},
		{`NO[0-9]{13}`, "iban", "NO9386011117947 NO9386011117948", "NO9386011117947"},
		{`[0-9-]{11}`, "ssn", "460-89-9847 000-89-9847", "460-89-9847"},
		{`日本[0-9]`, "", "🙂日本7 日本x", "日本7"},
		{`^start`, "", "start and start", "start"},
		{`\bword\b`, "", "word words sword word", "word|word"},
		{`[0-9]{2}`, "luhn", "٤٢ 18", "٤٢|18"},
	} {
		if got := strings.Join(foundBy(t, pattern.Pattern{Regex: test.regex, Check: test.check}, test.text), "|"); got != test.want {
			t.Errorf("%s with %s in %q: %q, want %q", test.regex, test.check, test.text, got, test.want)
		}
	}
}

// TestHitsOfPatterns: one hit for each pattern in its order, counted, with its confidence and a bounded number of places.
func TestHitsOfPatterns(t *testing.T) {
	in, err := pattern.New([]pattern.Pattern{{Name: "second", Regex: "b+"}, {Name: "first", Regex: "a", Confidence: event.Low}, {Name: "none", Regex: "zz"}})
	if err != nil {
		t.Fatal(err)
	}
	hits := in.Inspect(t.Context(), &inspect.Item{Text: strings.Repeat("a bb ", 300)}).Hits
	if len(hits) != 2 || hits[0].Name != "second" || hits[1].Name != "first" {
		t.Fatalf("%+v", hits)
	}
	if hits[0].Count != 300 || len(hits[0].Spans) != 100 || hits[0].Confidence != event.High || hits[1].Confidence != event.Low || hits[0].Version != in.Version() {
		t.Errorf("%d places, %d told, %+v", hits[0].Count, len(hits[0].Spans), hits[1].Confidence)
	}
	many := in.Inspect(t.Context(), &inspect.Item{Text: strings.Repeat("a ", 100_000)}).Hits
	if len(many) != 1 || many[0].Count != 1000 {
		t.Errorf("of very many: %+v", many[0].Count)
	}
	for _, item := range []*inspect.Item{{}, {Text: "zebra"}, {File: &event.File{Name: "bb.txt"}, Size: 2, Body: strings.NewReader("bb")}} {
		if hits := in.Inspect(t.Context(), item).Hits; item.Text == "" && len(hits) > 0 {
			t.Errorf("%+v: %+v", item, hits)
		}
	}
}

// TestVersionFollowsThePatterns in all they say.
func TestVersionFollowsThePatterns(t *testing.T) {
	seen := map[string]pattern.Pattern{}
	for _, p := range []pattern.Pattern{{Name: "a", Regex: "x"}, {Name: "b", Regex: "x"}, {Name: "a", Regex: "y"}, {Name: "a", Regex: "x", Check: "luhn"}, {Name: "a", Regex: "x", Confidence: event.Low}} {
		in, err := pattern.New([]pattern.Pattern{p})
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[in.Version()]; taken || in.Version() == "" {
			t.Errorf("%+v and %+v have one version", p, other)
		}
		seen[in.Version()] = p
	}
}

// TestRefusalsNameThePattern and what is wrong with it.
func TestRefusalsNameThePattern(t *testing.T) {
	for want, p := range map[string]pattern.Pattern{
		"regex: error parsing regexp":                          {Name: "bad", Regex: "["},
		"the regex matches an empty text":                      {Name: "bad", Regex: "x?"},
		`unknown check "mod97": none, luhn, card, iban or ssn`: {Name: "bad", Regex: "x", Check: "mod97"},
		"a regex is needed":                                    {Name: "bad", Check: "luhn"},
	} {
		if _, err := pattern.New([]pattern.Pattern{{Name: "good", Regex: "x"}, p}); err == nil || !strings.HasPrefix(err.Error(), "pattern bad: "+want) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
