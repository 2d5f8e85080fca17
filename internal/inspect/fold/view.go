package fold

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/chaperone-im/chaperone/internal/event"
)

// View is one reading of a text. Its spans are told in code points of the text as it was written.
type View struct {
	Text  string
	where []place // of each code point of Text; nil when Text is as written
}

// place is where a code point of a view stands in the text as it was written.
type place struct{ start, end int32 }

// Span tells where the code points from start to before end stand in the text as it was written.
func (v *View) Span(start, end int) event.Span {
	if v.where == nil || start >= end {
		return event.Span{Start: start, End: end}
	}
	out := v.where[start]
	for _, p := range v.where[start+1 : end] {
		out.start, out.end = min(out.start, p.start), max(out.end, p.end)
	}
	return event.Span{Start: int(out.start), End: int(out.end)}
}

// Views returns the readings of a text: as it is written, and, where it has such characters, percent-decoded (RFC 3986, section 2.1), with its
// tag characters shown, in the order of the screen after a right-to-left override, and with all of these. They are at most five.
func Views(text string) []View {
	written := View{Text: text}
	out := []View{written}
	for _, read := range readings() {
		if v, ok := read(written); ok {
			out = append(out, v)
		}
	}
	if len(out) == 1 {
		return out
	}
	all, steps := written, 0
	for _, read := range readings() {
		if v, ok := read(all); ok {
			all, steps = v, steps+1
		}
	}
	if steps > 1 {
		out = append(out, all)
	}
	return out
}

// Plain returns the view in plain letters and digits, in capitals where it has such: without what shows nothing and without marks, with Latin
// letters for those that look alike. It is for what is told by its exact form, as expressions are. The second result is false when that is what
// stands there anyway.
func (v View) Plain() (View, bool) {
	if ascii(v.Text) {
		return v, false
	}
	b := builder{from: v}
	var runes []rune
	at := 0
	for _, r := range v.Text {
		var kind Kind
		if runes, kind = AppendPlain(runes[:0], r); kind == Sign && len(runes) == 0 {
			runes = plainSign(runes, r)
		}
		for _, p := range runes {
			b.add(p, at, at+1)
		}
		at++
	}
	out := b.view()
	return out, out.Text != v.Text
}

// plainSign appends the ASCII sign that is meant, or else what stands there.
func plainSign(dst []rune, r rune) []rune {
	if unicode.Is(unicode.Pd, r) {
		return append(dst, '-')
	}
	return append(dst, []rune(norm.NFKD.String(string(r)))...)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func readings() [3]func(View) (View, bool) {
	return [...]func(View) (View, bool){decoded, tagged, reversed}
}

// builder writes a view of a view.
type builder struct {
	from  View
	text  strings.Builder
	where []place
}

// add writes a code point that stands for those of from between start and end.
func (b *builder) add(r rune, start, end int) {
	span := b.from.Span(start, end)
	b.text.WriteRune(r)
	b.where = append(b.where, place{int32(span.Start), int32(span.End)})
}

func (b *builder) view() View { return View{Text: b.text.String(), where: b.where} }

// decoded decodes %XX where the bytes are valid UTF-8.
func decoded(v View) (View, bool) {
	if !hasEscape(v.Text) {
		return v, false
	}
	b := builder{from: v}
	at := 0
	for text := v.Text; text != ""; {
		if r, n := unescape(text); n > 0 {
			b.add(r, at, at+n)
			text, at = text[n:], at+n
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		b.add(r, at, at+1)
		text, at = text[size:], at+1
	}
	return b.view(), true
}

func hasEscape(s string) bool {
	for {
		at := strings.IndexByte(s, '%')
		if at < 0 {
			return false
		}
		if escaped(s[at:]) {
			return true
		}
		s = s[at+1:]
	}
}

func escaped(s string) bool {
	return len(s) >= 3 && s[0] == '%' && unhex(s[1]) >= 0 && unhex(s[2]) >= 0
}

// unhex returns the value of a hexadecimal digit, -1 of what is none.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// unescape decodes one character at the beginning of s and tells how many bytes wrote it, 0 when there is none.
func unescape(s string) (r rune, n int) {
	var raw [utf8.UTFMax]byte
	for i := range raw {
		if !escaped(s[n:]) {
			return 0, 0
		}
		raw[i] = byte(unhex(s[n+1])<<4 | unhex(s[n+2]))
		n += 3
		if utf8.FullRune(raw[:i+1]) {
			r, size := utf8.DecodeRune(raw[:i+1])
			if r == utf8.RuneError || size != i+1 {
				return 0, 0
			}
			return r, n
		}
	}
	return 0, 0
}

// tagged shows tag characters (U+E0020 to U+E007E) as the ASCII characters that they stand for.
func tagged(v View) (View, bool) {
	if !strings.Contains(v.Text, "\xf3\xa0\x80") && !strings.Contains(v.Text, "\xf3\xa0\x81") {
		return v, false
	}
	b := builder{from: v}
	at := 0
	for _, r := range v.Text {
		if 0xE0020 <= r && r <= 0xE007E {
			r -= 0xE0000
		}
		b.add(r, at, at+1)
		at++
	}
	return b.view(), true
}

// reversed writes what stands after a right-to-left override in the order in which the screen shows it, until the override ends.
func reversed(v View) (View, bool) {
	if !strings.Contains(v.Text, "\u202e") {
		return v, false
	}
	b := builder{from: v}
	points := []rune(v.Text)
	for at := 0; at < len(points); at++ {
		b.add(points[at], at, at+1)
		if points[at] != '\u202e' {
			continue
		}
		end := at + 1
		for end < len(points) && !endsOverride(points[end]) {
			end++
		}
		for i := end - 1; i > at; i-- {
			b.add(points[i], i, i+1)
		}
		at = end - 1
	}
	return b.view(), true
}

func endsOverride(r rune) bool {
	return r == '\u202c' || r == '\u202d' || r == '\u202e' || r == '\u2029' || r == '\n'
}

// Merge sorts spans and makes one of those that overlap.
func Merge(spans []event.Span) []event.Span {
	slices.SortFunc(spans, func(a, b event.Span) int {
		if a.Start != b.Start {
			return a.Start - b.Start
		}
		return a.End - b.End
	})
	out := spans[:0]
	for _, s := range spans {
		if len(out) > 0 && s.Start < out[len(out)-1].End {
			out[len(out)-1].End = max(out[len(out)-1].End, s.End)
			continue
		}
		out = append(out, s)
	}
	return out
}
