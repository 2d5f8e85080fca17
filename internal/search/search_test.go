package search_test

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

func TestTokens(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"Hello, World!":                    "hello world",
		"don't":                            "don t",
		"Ångström ÉTÉ straße":              "angstrom ete strasse",
		"Łódź Đorđe København":             "lodz dorde kobenhavn",
		"北京大学":                             "北 京 大 学",
		"read 東京 now":                      "read 東 京 now",
		"한국어":                              "한 국 어",
		"ﬁnance ＡＢＣ１２":                     "finance abc12",
		"#deal @bob $AAPL a@b.org # alone": "# deal @ bob $ aapl a @ b org alone",
		"👍 ok 👩‍💻":                         "👍 ok 👩 💻",
		"λόγος ΛΟΓΟΣ":                      "λογοσ λογοσ",
		"שָׁלוֹם":                          "שלום",
		"ไทย":                              "ไ ท ย",
		"snake_case 4111-1111":             "snake_case 4111 1111",
		"Й Ё":                              "и е",
		strings.Repeat("x", 100):           strings.Repeat("x", 64),
		strings.Repeat("é", 100):           strings.Repeat("e", 64),
		"a\x00b\xffc":                      "a b c",
		"हिन्दी":                           "हिन्दी",
	} {
		if got := strings.Join(search.Tokens(text), " "); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
	if n := len(search.Tokens(strings.Repeat("é ", 1<<17))); n > 1<<15 {
		t.Errorf("%d tokens of one text", n)
	}
}

func TestFold(t *testing.T) {
	for value, want := range map[string]string{
		" Alice@Example.org ": "alice@example.org", "José  García": "jose__garcia", "a\tb": "a_b", "王芳": "王芳", "": "", "Straße-7.pdf": "strasse-7.pdf",
	} {
		if got := search.Fold(value); got != want {
			t.Errorf("%q gives %q, want %q", value, got, want)
		}
	}
}

// show writes an expression so that a table can hold it.
func show(e *search.Expr) string {
	var args []string
	for _, a := range e.Args {
		args = append(args, show(a))
	}
	star := ""
	if e.Prefix {
		star = "*"
	}
	switch e.Op {
	case search.And:
		return "(" + strings.Join(args, " & ") + ")"
	case search.Or:
		return "(" + strings.Join(args, " | ") + ")"
	case search.Not:
		return "!" + args[0]
	case search.Near:
		return args[0] + "~" + args[1]
	case search.Phrase:
		return strings.Join(e.Words, "_") + star
	case search.Facet:
		return e.Term() + star
	case search.After, search.Before:
		return map[search.Op]string{search.After: ">=", search.Before: "<"}[e.Op] + e.Time.Format(time.RFC3339Nano)
	}
	return "all"
}

func TestParse(t *testing.T) {
	for query, want := range map[string]string{
		"":                                 "all",
		" * ":                              "all",
		"Word":                             "word",
		"two words":                        "(two & words)",
		"two AND words":                    "(two & words)",
		"a b OR c d":                       "((a & b) | (c & d))",
		"a (b OR c)":                       "(a & (b | c))",
		"a NOT b":                          "(a & !b)",
		"NOT a NOT NOT b":                  "(!a & !!b)",
		`"take this offline"`:              "take_this_offline",
		`"take th"*`:                       "take_th*",
		"pre*":                             "pre*",
		"a NEAR/3 b":                       "a~b",
		`"a b" NEAR/0 c* d`:                "(a_b~c* & d)",
		"from:Alice@Example.org":           "from=alice@example.org",
		`from:"Alice Example"`:             "from=alice_example",
		"room:desk*":                       "room=desk*",
		"person:bob":                       "who=bob",
		"kind:room-change":                 "kind=room-change",
		"after:2024 before:2024-03":        "(>=2024-01-01T00:00:00Z & <2024-03-01T00:00:00Z)",
		"after:2024-03-01T09:30+02:00":     "",
		"after:2024-03-01T09:30:00.5Z":     ">=2024-03-01T09:30:00.5Z",
		"before:2024-03-01T09:30:00+02:00": "<2024-03-01T07:30:00Z",
		"a@b.org":                          "a_@_b_org",
		"北京":                               "北_京",
		"12:30":                            "12_30",
		"and or not":                       "(and & or & not)",
		"a * b":                            "(a & all & b)",
	} {
		e, err := search.Parse(query)
		if want == "" {
			if err == nil {
				t.Errorf("%s was taken", query)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got := show(e); got != want {
			t.Errorf("%s gives %s, want %s", query, got, want)
		}
	}
}

// TestStrictErrors says what is wrong and where.
func TestStrictErrors(t *testing.T) {
	for query, pos := range map[string]int{
		"(a":                             0,
		"a )":                            2,
		"a OR":                           4,
		"OR a":                           0,
		"a AND":                          5,
		"NOT":                            3,
		`say "never closed`:              4,
		"a NEAR b":                       2,
		"a NEAR/x b":                     2,
		"a NEAR/101 b":                   2,
		"a NEAR/3":                       8,
		"a NEAR/3 (b c)":                 10,
		"a NEAR/3 b NEAR/3 c":            11,
		"from:a NEAR/3 b":                0,
		"un*known":                       2,
		"a colour:red":                   2,
		"http://x":                       0,
		"from:":                          0,
		"kind:letter":                    0,
		"verdict:block*":                 0,
		"has:everything":                 0,
		"after:yesterday":                0,
		"after:2024*":                    0,
		"a !!! b":                        2,
		"()":                             1,
		"\xff":                           0,
		strings.Repeat("(", 100) + "a":   32,
		strings.Repeat("NOT ", 50) + "a": 128,
		strings.Repeat("a ", 300):        512,
		strings.Repeat("a", 5000):        4096,
	} {
		_, err := search.Parse(query)
		var syntax *search.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%.40q: error is %v", query, err)
		} else if syntax.Pos != pos || !strings.HasPrefix(syntax.Error(), "query, character ") {
			t.Errorf("%.40q: error at %d, want %d: %v", query, syntax.Pos, pos, err)
		}
	}
}

// FuzzParse checks that no query makes the parser panic or go deep, and that what it takes can be matched.
func FuzzParse(f *testing.F) {
	for _, q := range []string{"", "*", `a "b c"* NEAR/3 d`, "NOT (a OR b) from:x*", `kind:act after:2024-01-01 "`, "((((", "北京 #x 👍", "a:b", "matter:7"} {
		f.Add(q, "Some text, 北京 and more")
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, query, text string) {
		e, err := search.Parse(query)
		if err != nil {
			var syntax *search.SyntaxError
			if !errors.As(err, &syntax) || syntax.Pos < 0 || syntax.Pos > len(query) {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		terms := search.TermsOf(archive.Record{Event: &event.Event{Kind: event.Message, Content: event.Content{Text: text}}})
		not := search.Expr{Op: search.Not, Args: []*search.Expr{e}}
		if e.Match(terms, at) == not.Match(terms, at) {
			t.Fatalf("%q matches as its opposite does", query)
		}
	})
}

// FuzzTokens checks that tokens are clean, bounded, and stay as they are when read again.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"Ångström 北京 👍🏽 #x", "a\u0301\u0327b", "ﷺ İstanbul", "\u0301\u0e31", "x\u200dy", "ǰ ΐ Ǆ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokens := search.Tokens(s)
		for _, w := range tokens {
			if w == "" || len(w) > 64 || strings.ContainsAny(w, " \n\x00") {
				t.Fatalf("%q has the token %q", s, w)
			}
		}
		folded := search.Fold(s)
		if strings.ContainsAny(folded, " \n\x00") || len(folded) > 200 {
			t.Fatalf("%q is folded to %q", s, folded)
		}
	})
}

// list is an index of nothing, which tells what it was asked.
type list struct{ asked *search.Expr }

func (l *list) Find(_ context.Context, e *search.Expr, _ string) iter.Seq2[archive.Selected, error] {
	l.asked = e
	return func(yield func(archive.Selected, error) bool) {
		for yield(archive.Selected{Record: archive.Record{Event: &event.Event{}}}, nil) {
		}
	}
}

func (l *list) Count(_ context.Context, e *search.Expr) (int, error) { l.asked = e; return 7, nil }

type acts struct {
	list []*event.Event
	err  error
}

func (a *acts) Record(_ context.Context, e ...*event.Event) error {
	if a.err == nil {
		a.list = append(a.list, e...)
	}
	return a.err
}

type matters map[string][3][]string

func (m matters) Names(_ context.Context, matter string) (people, rooms, hosts []string, err error) {
	names, ok := m[matter]
	if !ok {
		return nil, nil, nil, errors.New("there is no matter " + matter)
	}
	return names[0], names[1], names[2], nil
}

func (m matters) Matter(written string, shown func(string) string) (string, error) {
	for name := range m {
		if shown(name) == written {
			return name, nil
		}
	}
	if _, ok := m[written]; ok {
		return written, nil
	}
	return "", errors.New("there is no matter " + written)
}

func reader(t *testing.T, a *acts) *archive.View {
	t.Helper()
	v, err := archive.New(archive.Driver{}, a, clock.System{}).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "case 7")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSearchIsOnRecordFirst(t *testing.T) {
	index, a := &list{}, &acts{}
	s, v := search.New(index, nil), reader(t, a)
	n := 0
	for _, err := range s.Search(t.Context(), v, "take", "", 3) {
		if err != nil || len(a.list) != 1 {
			t.Fatalf("a hit came with %d acts (%v)", len(a.list), err)
		}
		n++
	}
	if n != 3 || a.list[0].Act.Object != "search take" || a.list[0].Act.Purpose != "case 7" {
		t.Errorf("%d hits, act %+v", n, a.list[0].Act)
	}
	if n, err := s.Count(t.Context(), v, "this"); n != 7 || err != nil || len(a.list) != 2 {
		t.Errorf("count %d (%v), %d acts", n, err, len(a.list))
	}
	index.asked, a.err = nil, errors.New("disk full")
	for _, err := range s.Search(t.Context(), v, "other", "", 0) {
		if !errors.Is(err, a.err) || index.asked != nil {
			t.Errorf("a search that could not be recorded gave %v and asked %v", err, index.asked)
		}
	}
}

func TestMatter(t *testing.T) {
	index := &list{}
	s, v := search.New(index, matters{"case-7": {{"alice"}, {"desk"}, {"laptop-1"}}}), reader(t, &acts{})
	if _, err := s.Count(t.Context(), v, "take matter:Case-7"); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"who=alice", "room=desk", "host=laptop-1"} {
		if !strings.Contains(show(index.asked), part) {
			t.Errorf("%s is not in %s", part, show(index.asked))
		}
	}
	var syntax *search.SyntaxError
	if _, err := s.Count(t.Context(), v, "take matter:other"); !errors.As(err, &syntax) || syntax.Pos != 5 {
		t.Errorf("an unknown matter gives %v", err)
	}
}

func TestHit(t *testing.T) {
	e := &event.Event{ID: "1", Kind: event.Edit, Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Connector: "office", Room: event.Room{Name: "desk"},
		From: event.Party{Handle: "alice"}, To: []event.Party{{Handle: "bob"}}, Refers: "0", Content: event.Content{Text: "hello"}}
	want := search.Hit{Type: "message", ID: "1", Kind: "edit", Time: "2026-01-02T03:04:05.0000006Z", Connector: "office", Room: "desk", From: "alice",
		To: []string{"bob"}, Text: "hello", Verdict: "block", Rule: "cards", RevisionOf: "0"}
	if got := search.HitOf(archive.Record{Event: e, Action: event.Block, Rule: "cards"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	e.Subject = "4111 1111 1111 1111"
	if got := search.HitOf(archive.Record{Event: e}); got.Subject != e.Subject || got.Text != "hello" || got.What() != "subject: 4111 1111 1111 1111; hello" {
		t.Errorf("with a subject: %+v", got)
	}
	if got := search.HitOf(archive.Record{Event: e, KeyLost: true}); got.Subject != "" || got.What() != search.KeyMissing {
		t.Errorf("without its key: %+v", got)
	}
	topic := &event.Event{Kind: event.RoomChange, Content: event.Content{Subject: "plans"}}
	if got := search.HitOf(archive.Record{Event: topic}); got.What() != "plans" {
		t.Errorf("a topic: %q", got.What())
	}
	flow := &event.Event{Kind: event.FlowSeen, Host: event.Host{Name: "laptop-1"}, Content: event.Content{Flow: &event.Flow{App: "whatsapp", Name: "web.whatsapp.com", Server: "1.2.3.4:443"}}}
	if got := search.HitOf(archive.Record{Event: flow}); got.App != "whatsapp" || got.Host != "laptop-1" || got.Text != "whatsapp web.whatsapp.com 1.2.3.4:443" || got.To == nil {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkTokens(b *testing.B) {
	s := "let's take this offline before the board meets, ok? https://example.com/x"
	for b.Loop() {
		search.Tokens(s)
	}
}

func BenchmarkTermsOf(b *testing.B) {
	r := archive.Record{Action: event.Allow, Rule: "otherwise", Event: &event.Event{Kind: event.Message, Connector: "office", Room: event.Room{ID: "r1", Name: "desk@rooms.example.org"},
		From: event.Party{ID: "h1", Handle: "alice@example.org", Person: "alice"}, Content: event.Content{Text: "let's take this offline before the board meets, ok?"}}}
	for b.Loop() {
		search.TermsOf(r)
	}
}
