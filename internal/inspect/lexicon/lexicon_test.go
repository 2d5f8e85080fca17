package lexicon_test

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/fold"
	"github.com/chaperone-im/chaperone/internal/inspect/inspecttest"
	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
)

func build(t testing.TB) *lexicon.Inspector {
	t.Helper()
	in, err := lexicon.New([]lexicon.Lexicon{
		{Name: "collusion", Words: []string{"between us", "delete this", "guarant*", "café"}, Near: []lexicon.Near{{Terms: []string{"take|move", "offline"}, Within: 3}}},
		{Name: "venue", Words: []string{"whatsapp", "let's talk"}, Confidence: event.Medium},
		{Name: "other scripts", Words: []string{"секретно", "内幕", "κρυφό"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestConformance(t *testing.T) {
	inspecttest.Run(t, build(t), &inspecttest.Bad{Item: &inspect.Item{Text: "keep it between us, WhatsApp me, between us"}, Hit: "collusion"})
}

// TestFind marks in each text what must be found: «» around every span.
func TestFind(t *testing.T) {
	in := build(t)
	for _, text := range []string{
		"keep it «between us», please «delete this».",
		"keep it «BETWEEN   us»",
		"betweenus between usual",
		"we «guarantee» it, «guaranteed»; a guard",
		"a «cafe» or a «CAFÉ» or a «cafe\u0301»",
		"«take this offline», but then we all take it to a place that is far from being offline",
		"«offline, take» it",
		"«move it all offline» now",
		"take a b c offline",
		"on «WhatsApp», «W\u200bhats\u2060App», «ｗｈａｔｓａｐｐ», «𝓌𝒽𝒶𝓉𝓈𝒶𝓅𝓅», «whаtsарр», «ωhatsapp», «w h a t s a p p», «W.h.a.t.s.A.p.p»",
		"«let’s talk», «LETS TALK», «let's… talk»",
		"это «секретно», «СЕКРЕТНО»; 这是«内幕»消息; «Κρυφό»",
		"\u202eon «whatsapp»",
		"🙂🙂 «whatsapp» 🙂",
	} {
		var plain strings.Builder
		var want, got []string
		at := 0
		start := 0
		for _, r := range text {
			switch r {
			case '«':
				start = at
			case '»':
				want = append(want, string([]rune(plain.String())[start:at]))
			default:
				plain.WriteRune(r)
				at++
			}
		}
		points := []rune(plain.String())
		spans := []event.Span{}
		for _, h := range in.Inspect(context.Background(), &inspect.Item{Text: plain.String()}).Hits {
			spans = append(spans, h.Spans...)
		}
		for _, s := range fold.Merge(spans) {
			got = append(got, string(points[s.Start:s.End]))
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, word := range []string{"", "...", strings.Repeat("ab ", 17)} {
		if _, err := lexicon.New([]lexicon.Lexicon{{Name: "x", Words: []string{word}}}); err == nil {
			t.Errorf("%q is accepted", word)
		}
	}
}

func FuzzInspect(f *testing.F) {
	in := build(f)
	for _, s := range []string{"between us", "W h a t s A p p", "take\u200b it оffline", "\xff\u0301", "内幕"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		points := utf8.RuneCountInString(text)
		for _, h := range in.Inspect(context.Background(), &inspect.Item{Text: text}).Hits {
			for _, s := range h.Spans {
				if s.Start < 0 || s.End <= s.Start || s.End > points {
					t.Fatalf("%q: span %v of %d", text, s, points)
				}
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	var words []string
	for i := range 5000 {
		words = append(words, strings.Repeat(string(rune('a'+i%26)), 3+i%5)+" word "+strings.Repeat("x", i%9+1))
	}
	in, err := lexicon.New([]lexicon.Lexicon{{Name: "big", Words: words}})
	if err != nil {
		b.Fatal(err)
	}
	item := &inspect.Item{Text: "Could you have a look at the numbers I sent this morning? I think row 14 is off by 2,300, and the client calls at 4pm. Thanks!"}
	b.ReportAllocs()
	for b.Loop() {
		in.Inspect(context.Background(), item)
	}
}
