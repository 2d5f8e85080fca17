package pattern

import (
	"unicode"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect/fold"
)

// text is a text in all its views, folded when first asked for.
type text struct {
	views []view
	exact []*view // what expressions see
}

type view struct {
	fold.View
	points  []point
	digits  int
	counted bool
}

func newText(s string) *text {
	t := &text{}
	for _, v := range fold.Views(s) {
		t.views = append(t.views, view{View: v})
	}
	return t
}

// written returns the readings of a text that expressions see: as it is written; in plain letters; and decoded, shown and turned around, in plain
// letters, where that is something else.
func (t *text) written() []*view {
	if t.exact != nil {
		return t.exact
	}
	t.exact = []*view{&t.views[0]}
	if p, ok := t.views[0].Plain(); ok {
		t.exact = append(t.exact, &view{View: p})
	}
	if last := len(t.views) - 1; last > 0 {
		p, _ := t.views[last].Plain()
		t.exact = append(t.exact, &view{View: p})
	}
	return t.exact
}

// found returns what a finder finds in any view.
func (t *text) found(c *compiled) []event.Span {
	var out []event.Span
	for i := range t.views {
		v := &t.views[i]
		if v.digitCount() < c.digits {
			continue
		}
		if v.points == nil {
			v.points = pointsOf(v.Text)
		}
		for _, f := range c.find(v.points) {
			out = append(out, v.Span(int(v.points[f[0]].at), int(v.points[f[1]-1].end)))
		}
	}
	if len(t.views) == 1 {
		return out
	}
	return fold.Merge(out)
}

func (v *view) digitCount() int {
	if !v.counted {
		v.counted = true
		for _, r := range v.Text {
			if isDigit(r) {
				v.digits++
			} else if r >= utf8.RuneSelf {
				if _, ok := fold.Digit(r); ok {
					v.digits++
				}
			}
		}
	}
	return v.digits
}

// point is a character that is seen: a digit 0 to 9, a letter (Latin ones in upper case) or a sign, and from where to where it stands in its view.
type point struct {
	r       rune
	at, end int32
}

// pointsOf folds a text. What shows nothing is left out, and belongs to no match unless it stands inside; marks belong to what they mark.
func pointsOf(s string) []point {
	out := make([]point, 0, utf8.RuneCountInString(s))
	var buf [8]rune
	at := int32(-1)
	for _, r := range s {
		at++
		if r < utf8.RuneSelf {
			out = append(out, point{upper(r), at, at + 1})
			continue
		}
		folded, kind := fold.Append(buf[:0], r)
		switch kind {
		case fold.Text:
			for _, f := range folded {
				out = append(out, point{upper(f), at, at + 1})
			}
		case fold.Mark:
			if len(out) > 0 && wordly(out[len(out)-1].r) {
				out[len(out)-1].end = at + 1
			}
		case fold.Sign:
			out = append(out, point{r, at, at + 1})
		}
	}
	return out
}

func upper(r rune) rune {
	if 'a' <= r && r <= 'z' {
		return r - 'a' + 'A'
	}
	return r
}

func isDigit(r rune) bool  { return '0' <= r && r <= '9' }
func isLetter(r rune) bool { return 'A' <= r && r <= 'Z' }

// wordly reports whether a folded character is a letter or a number of any script.
func wordly(r rune) bool {
	return isDigit(r) || isLetter(r) || r >= 0x80 && (unicode.IsLetter(r) || unicode.IsNumber(r))
}

// maxSeparator is how many signs people write between groups of digits: ", ", " - ", ")(".
const maxSeparator = 3

// tight reports whether the separator is one that people put between groups of any size: one space, hyphen or dot, or nothing that is seen.
func tight(separator []point) bool {
	if len(separator) == 0 {
		return true
	}
	r := separator[0].r
	return len(separator) == 1 && (r == '.' || unicode.Is(unicode.Zs, r) || unicode.Is(unicode.Pd, r) && r != '—')
}

// same reports whether two separators are written alike.
func same(a, b []point) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].r != b[i].r {
			return false
		}
	}
	return true
}
