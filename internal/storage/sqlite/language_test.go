package sqlite_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

// languages are messages as people write them, and some as nobody should.
func languages() []string {
	return []string{
		"Let's take this offline before the board meets", "Ångström, ÉTÉ, straße, Łódź", "Résumé re\u0301sume\u0301 RESUME",
		"会议在北京大学，明天上午", "東京タワーで会いましょう", "한국어로 말해요", "read 東京 now",
		"שלום עולם, פגישה מחר", "שָׁלוֹם", "مرحبا بالعالم، الاجتماع غدا", "مَرْحَبًا", "Привет, Ёлка и Йод", "λόγος ΛΟΓΟΣ",
		"हिन्दी में बात", "ภาษาไทยไม่เว้นวรรค", "👍 ok 👩\u200d💻 🇨🇭", "ﬁnance ＡＢＣ１２ ①", "a\u202eevil\u202c b", "zero\u200bwidth soft\u00adhyphen",
		"snake_case 4111-1111-1111-1111 #deal @bob $AAPL a@b.org", "\"quoted\" 'single' (parens) * AND OR NOT NEAR/3", "'; DROP TABLE events; --", "text=facet from=alice any=1",
		"\x00\x01\xff\xfe", strings.Repeat("long", 500), strings.Repeat("wide ", 2000), "", " ", "ß ẞ ss SS", "İstanbul ISTANBUL ıspanak", "½ Ⅳ x² ﷺ",
	}
}

// languageQueries ask for them, some in other forms than they were written.
func languageQueries() []string {
	return []string{
		"offline", "angstrom", "ete", "strasse", "STRASSE", "lodz", "resume", "résumé", `"resume resume"`, "北京", "京北", "大学明天", "会*", "東京", "東京タワー", `"東京" NEAR/1 now`, "한국", "국한", "한국어로",
		"שלום", "שָׁלוֹם", `"שלום עולם"`, `"עולם שלום"`, "מח*", "مرحبا", "مَرْحَبًا", "الاجتماع", `"بالعالم الاجتماع"`, "привет", "ЕЛКА", "ёлка", "иод", "ΛΌΓΟΣ", "λογοσ", "हिन्दी", "ไม่", "ไทย", "👍", "💻", "🇨🇭", "finance", "abc12", "1",
		"evil", `"a evil b"`, "zero", "zerowidth", "zero*", "softhyphen", "soft", "snake_case", "snake", "4111", `"4111 1111 1111"`, "#deal", "$aapl", "a@b.org", "quoted", "parens", `"and or not"`, `"near 3"`, "drop", `"drop table events"`,
		"facet", `"from alice"`, "from:alice", "any", "ss", "ẞ", "istanbul", "İSTANBUL", "ispanak", "½", "iv", "x2", "x²", "wide NOT narrow", "long*", strings.Repeat("long", 16), "NOT (北 OR שלום OR مرحبا)",
	}
}

func sayAll(t *testing.T, texts []string) []*event.Event {
	var out []*event.Event
	for i, text := range texts {
		e := direct(day(1, i%24), "alice", "bob", text)
		e.Room.Name = "" // what a person typed as text only
		out = append(out, e)
	}
	return out
}

// TestEveryLanguageIsFoundAsMatchSays: the driver answers every query in every script as the search language itself does.
func TestEveryLanguageIsFoundAsMatchSays(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	put(t, s, 1, sayAll(t, languages())...)
	all, found := everything(t, s), 0
	if len(all) != len(languages()) {
		t.Fatalf("%d records", len(all))
	}
	for _, q := range languageQueries() {
		got, want := ids(t, s, q), oracle(t, all, q)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the driver finds %d, Match %d", q, len(got), len(want))
		}
		if found += min(1, len(got)); len(got) == len(all) && q != "from:alice" {
			t.Errorf("%s finds everything", q)
		}
	}
	if found < len(languageQueries())*2/3 {
		t.Errorf("only %d of %d queries find something", found, len(languageQueries()))
	}
}

// TestHostileQueries: whatever is asked is refused as a mistake of who asks, or answered as Match says; nothing reaches the engine's own
// language.
func TestHostileQueries(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	put(t, s, 1, sayAll(t, languages())...)
	all := everything(t, s)
	for _, q := range []string{
		`"`, `""`, `"" OR "`, `*`, `**`, `* *`, `text:offline`, `facets:any`, `{text facets}: offline`, `-offline`, `^offline`, `offline + take`, `NEAR(take offline, 5)`, `take NEAR/ offline`, `take NEAR/99999999999999999999 offline`,
		`offline'--`, `x" OR 1=1 --`, `"text" : "x"`, `any=1`, `"any=1"`, `kind=act`, `"kind=act"`, "\x00", "off\x00line", "\xff\xfe", "offline\xff", strings.Repeat("(", 5000), strings.Repeat("NOT ", 5000) + "x", strings.Repeat("a OR ", 20000) + "a",
		strings.Repeat("x", 1<<20), strings.Repeat("a* NEAR/2 ", 200) + "b", `from:`, `from:*`, `from:"*"`, `from:""`, `room:%`, `room:_`, `person:'`, `file:../../etc/passwd`, `after:9999-12-31`, `before:0001-01-01`, `after:-1`, "\u202eoffline", "AND", "OR OR OR", "( )", "(())", "NOT",
	} {
		e, err := search.Parse(q)
		short := fmt.Sprintf("%.40q", q)
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("%s is refused in %d bytes", short, len(err.Error()))
			}
			continue
		}
		if got, want := ids(t, s, q), oracle(t, all, q); !reflect.DeepEqual(got, want) {
			t.Errorf("%s (%v): the driver finds %d, Match %d", short, e.Op, len(got), len(want))
		}
	}
	if got := ids(t, s, ""); len(got) != len(all) {
		t.Errorf("%d of %d records are left", len(got), len(all))
	}
}
