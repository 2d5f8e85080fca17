package fold_test

import (
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect/fold"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct{ in, want []event.Span }{
		{nil, nil},
		{[]event.Span{{Start: 5, End: 7}, {Start: 1, End: 3}}, []event.Span{{Start: 1, End: 3}, {Start: 5, End: 7}}},
		{[]event.Span{{Start: 1, End: 4}, {Start: 2, End: 9}, {Start: 3, End: 5}}, []event.Span{{Start: 1, End: 9}}},
	} {
		if got := fold.Merge(c.in); len(got)+len(c.want) > 0 && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

// TestViews: the readings of a text, and where a part of the last one stands in what was written.
func TestViews(t *testing.T) {
	for _, c := range []struct {
		text       string
		want       []string
		start, end int // in the last view
		span       event.Span
	}{
		{"plain 100% sure, 5%x", []string{"plain 100% sure, 5%x"}, 0, 5, event.Span{Start: 0, End: 5}},
		{"é%20b", []string{"é%20b", "é b"}, 1, 3, event.Span{Start: 1, End: 5}},
		{"%d9%A4!", []string{"%d9%A4!", "٤!"}, 0, 1, event.Span{Start: 0, End: 6}},
		{"%ff%4z%\x100%34", []string{"%ff%4z%\x100%34", "%ff%4z%\x1004"}, 9, 10, event.Span{Start: 9, End: 12}},
		{"a\U000E0034b", []string{"a\U000E0034b", "a4b"}, 1, 2, event.Span{Start: 1, End: 2}},
		{"a\u202Ecb\u202Cd", []string{"a\u202Ecb\u202Cd", "a\u202Ebc\u202Cd"}, 2, 3, event.Span{Start: 3, End: 4}},
		{"\u202E43%", []string{"\u202E43%", "\u202E%34"}, 1, 4, event.Span{Start: 1, End: 4}},
		{"%41\U000E0042", []string{"%41\U000E0042", "A\U000E0042", "%41B", "AB"}, 0, 2, event.Span{Start: 0, End: 4}},
	} {
		views := fold.Views(c.text)
		var got []string
		for _, v := range views {
			got = append(got, v.Text)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
			continue
		}
		if span := views[len(views)-1].Span(c.start, c.end); span != c.span {
			t.Errorf("%q: %v, want %v", c.text, span, c.span)
		}
	}
}

// TestPlain: a text in plain letters, with its capitals, and what is left of it where nothing has to be changed.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"Plain, as it is": "",
		"Ａ－Ｂ＿１２":          "A-B_12",
		"Zoë\u200b Ça":    "Zoe Ca",
		"АВС ΗΝΜ ѕсоре":   "ABC HNM scope",
		"𝐀𝐛 ⓒⒹ 🅴 ½ ‑—":    "Ab cD E 12 --",
		"договор · 北京":    "дoгobop · 北京",
		"🙂 4\ufe0f\u20e3": "🙂 4",
	} {
		written := fold.Views(text)[0]
		got, ok := written.Plain()
		if ok != (want != "") || ok && got.Text != want {
			t.Errorf("%q in plain letters is %q, %v; want %q", text, got.Text, ok, want)
		}
	}
	v, _ := fold.Views("é\u200bАВ")[0].Plain()
	if s := v.Span(1, 3); v.Text != "eAB" || s != (event.Span{Start: 2, End: 4}) {
		t.Errorf("%q: %v", v.Text, s)
	}
}

func FuzzViews(f *testing.F) {
	for _, s := range []string{"%34%31 a", "\u202eppastahw\u202c", "\U000E0034%", "%e2%80%ae%41", "\xff%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		points := utf8.RuneCountInString(text)
		views, plain := fold.Views(text), map[string]bool{}
		for _, v := range views[:len(views):len(views)] {
			if p, ok := v.Plain(); ok {
				views, plain[p.Text] = append(views, p), true // it need not begin and end where the text does
			}
		}
		for _, v := range views {
			n := utf8.RuneCountInString(v.Text)
			for i := range n {
				if s := v.Span(i, i+1); s.Start < 0 || s.End <= s.Start || s.End > points {
					t.Fatalf("%q: code point %d of %q at %v", text, i, v.Text, s)
				}
			}
			if s := v.Span(0, n); n > 0 && s != (event.Span{Start: 0, End: points}) && !plain[v.Text] {
				t.Fatalf("%q: all of %q is %v", text, v.Text, s)
			}
		}
	})
}
