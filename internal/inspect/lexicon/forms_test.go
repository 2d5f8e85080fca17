package lexicon_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
)

// places returns the texts that a lexicon of these words finds.
func places(t *testing.T, text string, words ...string) string {
	t.Helper()
	points := []rune(text)
	var out []string
	for _, h := range inspectWith(t, text, lexicon.Lexicon{Name: "x", Words: words}) {
		for _, s := range h.Spans {
			out = append(out, string(points[s.Start:s.End]))
		}
	}
	return strings.Join(out, "|")
}

// TestForms: the same word in the forms in which people write and hide it.
func TestForms(t *testing.T) {
	for _, test := range []struct{ word, text, want string }{
		{"bribe", "bribe Bribe BRIBE", "bribe|Bribe|BRIBE"},
		{"bribe", "bribes unbribe bribe's", ""},
		{"bribe", "(bribe) \"bribe\" bribe, bribe.", "bribe|bribe|bribe|bribe"},
		{"bribe", "brîbé brı\u0301be", "brîbé|brı\u0301be"},
		{"brîbe", "bribe", "bribe"},
		{"bribe", "brіbе ЬRIBE", "brіbе"}, // Cyrillic і and е; the soft sign is no b
		{"bribe", "ｂｒｉｂｅ", "ｂｒｉｂｅ"},
		{"bribe", "𝐛𝐫𝐢𝐛𝐞 𝒷𝓇𝒾𝒷ℯ 𝔟𝔯𝔦𝔟𝔢", "𝐛𝐫𝐢𝐛𝐞|𝒷𝓇𝒾𝒷ℯ|𝔟𝔯𝔦𝔟𝔢"},
		{"bribe", "ⓑⓡⓘⓑⓔ", "ⓑⓡⓘⓑⓔ"},
		{"bribe", "b\u200br\u200ci\u200db\u2060e", "b\u200br\u200ci\u200db\u2060e"},
		{"bribe", "b\u00adr\u00adibe", "b\u00adr\u00adibe"},
		{"bribe", "b\u202eribe", "b\u202eribe"},
		{"bribe", "b r i b e", "b r i b e"},
		{"bribe", "b-r-i-b-e, b_r_i_b_e, b...r...i...b...e", "b-r-i-b-e|b_r_i_b_e|b...r...i...b...e"},
		{"bribe", "b  r i b e", ""},
		{"bribe", "b....r....i....b....e", ""},
		{"don't", "dont DON'T don’t donʼt", "dont|DON'T|don’t|donʼt"},
		{"dont", "don't", "don't"},
		{"don't", "don t", ""},
		{"C++", "c", "c"}, // signs are between words
		{"inside deal", "inside deal inside-deal inside\n\ndeal inside, deal", "inside deal|inside-deal|inside\n\ndeal|inside, deal"},
		{"inside deal", "inside a deal insidedeal deal inside", ""},
		{"guarant*", "guarantee GUARANTEED guarant guarded", "guarantee|GUARANTEED|guarant"},
		{"no guarant*", "no guarantees, guarantee no", "no guarantees"},
		{"内幕", "这是内幕消息", "内幕"},
		{"内幕", "内 幕 内的幕", "内 幕"},
		{"ひみつ", "これはひみつです", "ひみつ"},
		{"비밀", "비밀 이야기", "비밀"},
		{"взятка", "Взятка ВЗЯТКА взятки", "Взятка|ВЗЯТКА"},
		{"δωρο", "Δώρο δωρο", "Δώρο|δωρο"},
		{"رشوة", "رشوة", "رشوة"},
		{"ﬁle", "file", "file"},
		{"straße", "straße STRASSE", "straße"},
		{"42", "42 ４２ 442 4.2", "42|４２"},
	} {
		if got := places(t, test.text, test.word); got != test.want {
			t.Errorf("%q in %q: %q, want %q", test.word, test.text, got, test.want)
		}
	}
}

// TestOverlaps: entries that overlap in the text are one place, those that touch are two.
func TestOverlaps(t *testing.T) {
	for _, test := range []struct {
		text, want string
		words      []string
	}{
		{"a long long way", "a long long way", []string{"a long", "long long", "long way"}},
		{"off the record", "off the record", []string{"record", "off the record", "the"}},
		{"off the record", "off|record", []string{"off", "record"}},
		{"the the the", "the the the", []string{"the the"}},
		{"内幕内幕", "内幕|内幕", []string{"内幕"}},
	} {
		if got := places(t, test.text, test.words...); got != test.want {
			t.Errorf("%q in %q: %q, want %q", test.words, test.text, got, test.want)
		}
	}
}

// TestNearWindows: what is marked, and how far is too far.
func TestNearWindows(t *testing.T) {
	for _, test := range []struct {
		terms  []string
		within int
		text   string
		want   string
	}{
		{[]string{"pump", "dump"}, 1, "pump dump", "pump dump"},
		{[]string{"pump", "dump"}, 1, "pump and dump", ""},
		{[]string{"pump", "dump"}, 2, "pump and dump", "pump and dump"},
		{[]string{"pump", "dump"}, 2, "dump and pump", "dump and pump"},
		{[]string{"pump", "dump"}, 2, "pump pump dump", "pump pump dump"},
		{[]string{"pump", "dump"}, 5, "pump it. Then, dump!", "pump it. Then, dump"},
		{[]string{"pump", "pump"}, 5, "pump", "pump"}, // one word can be both terms
		{[]string{"buy now", "tell nobody"}, 4, "buy now and tell nobody", "buy now and tell nobody"},
		{[]string{"buy|sell", "tip*"}, 3, "sell on tips", "sell on tips"},
		{[]string{"a1", "b2", "c3"}, 4, "c3 x b2 y a1", "c3 x b2 y a1"},
		{[]string{"a1", "b2", "c3"}, 3, "c3 x b2 y a1", ""},
		{[]string{"a1", "b2"}, 2, "a1 b2 far far far far b2 a1", "a1 b2|b2 a1"},
		{[]string{"a1", "b2"}, 3, "", ""},
	} {
		points := []rune(test.text)
		var got []string
		for _, h := range inspectWith(t, test.text, lexicon.Lexicon{Name: "n", Near: []lexicon.Near{{Terms: test.terms, Within: test.within}}}) {
			for _, s := range h.Spans {
				got = append(got, string(points[s.Start:s.End]))
			}
		}
		if strings.Join(got, "|") != test.want {
			t.Errorf("%q within %d in %q: %q, want %q", test.terms, test.within, test.text, got, test.want)
		}
	}
}

// TestRefusalsNameTheLexicon and the entry that has no word.
func TestRefusalsNameTheLexicon(t *testing.T) {
	for _, bad := range []lexicon.Lexicon{{Name: "bad", Words: []string{"ok", "?!"}}, {Name: "bad", Near: []lexicon.Near{{Terms: []string{"ok", "a|"}, Within: 2}}},
		{Name: "bad", Words: []string{"\u200b"}}, {Name: "bad", Words: []string{"*"}}} {
		if _, err := lexicon.New([]lexicon.Lexicon{{Name: "good", Words: []string{"x"}}, bad}); err == nil || !strings.HasPrefix(err.Error(), "lexicon bad: ") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestFilesAndHostileTexts: files are not looked into, and no text makes it fail.
func TestFilesAndHostileTexts(t *testing.T) {
	in := build(t)
	if r := in.Inspect(t.Context(), &inspect.Item{File: &event.File{Name: "between us"}, Body: strings.NewReader("between us"), Size: 10}); len(r.Hits)+len(r.NotInspected) > 0 {
		t.Errorf("in a file: %+v", r)
	}
	for name, text := range map[string]string{
		"accents":     "between" + strings.Repeat("\u0301", 10_000) + " us",
		"invalid":     "\xff\xfe between\xffus between us",
		"joiners":     strings.Repeat("\u200b", 50_000) + "between us",
		"spelled out": strings.Repeat("a ", 20_000) + ", between us",
		"one word":    strings.Repeat("x", 200_000) + " between us",
	} {
		hits := in.Inspect(t.Context(), &inspect.Item{Text: text}).Hits
		if len(hits) != 1 || hits[0].Name != "collusion" {
			t.Errorf("%s: %+v", name, hits)
		}
	}
	if in.Name() != "lexicon" {
		t.Errorf("name %q", in.Name())
	}
}
