package pseudonym

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/chaperone-im/chaperone/internal/inspect/fold"
)

// looked is one reading of a text as it looks: letters that look alike are one, what shows nothing is not there. It knows where its parts stand
// in the text as it was written.
type looked struct {
	folded
	view   *fold.View
	point  []int32 // of each byte of the folded text: which code point of the view it is from
	offset []int   // of each code point of the text as it was written: where it begins; and the text's length
}

// looks folds a text by what it looks like.
func looks(v *fold.View, offset []int) looked {
	l := looked{view: v, offset: offset, folded: folded{written: v.Text, look: true}}
	var b strings.Builder
	b.Grow(len(v.Text))
	l.from, l.point = make([]int, 0, len(v.Text)+1), make([]int32, 0, len(v.Text))
	var runes []rune
	at, space := int32(-1), false
	for from, r := range v.Text {
		at++
		var kind fold.Kind
		if runes, kind = fold.Append(runes[:0], r); kind == fold.Sign {
			runes = sign(runes, r)
		}
		for _, r := range runes {
			if space && r == ' ' {
				continue
			}
			space = r == ' '
			n, _ := b.WriteRune(r)
			for range n {
				l.from, l.point = append(l.from, from), append(l.point, at)
			}
		}
	}
	l.from = append(l.from, len(v.Text))
	l.text = b.String()
	return l
}

// sign appends what a sign stands for: one space, one apostrophe, compatibility forms as they are meant.
func sign(dst []rune, r rune) []rune {
	switch {
	case r < utf8.RuneSelf && r > ' ':
		return append(dst, r)
	case unicode.IsSpace(r):
		return append(dst, ' ')
	case strings.ContainsRune("’‘´", r):
		return append(dst, '\'')
	}
	for _, d := range norm.NFKD.String(string(r)) {
		if unicode.IsSpace(d) {
			d = ' '
		}
		dst = append(dst, d)
	}
	return dst
}

// looksLike returns a key as it looks.
func looksLike(k string) string {
	if plain(k) {
		return k
	}
	l := looks(&fold.View{Text: k}, nil)
	return l.text
}

// source returns the range in the text as it was written of a range in the folded text.
func (l *looked) source(start, end int) (int, int) {
	s := l.view.Span(int(l.point[start]), int(l.point[end-1])+1)
	return l.offset[s.Start], l.offset[s.End]
}

// disguised calls found for the names in a text that are dressed up: with letters of other scripts, spelled out, with digits for letters, in
// numbers that mean an address. Exact is the text as names are found in it anyway.
func (r *Roll) disguised(text string, exact folded, own []string, found func(n *needle, from, to int, k string)) {
	offset := make([]int, 0, len(text)+1)
	for at := range text {
		offset = append(offset, at)
	}
	offset = append(offset, len(text))
	for i, v := range fold.Views(text) {
		l := looks(&v, offset)
		tell := func(n *needle, start, end int, k string) {
			from, to := l.source(start, end)
			found(n, from, to, k)
		}
		if i > 0 || l.text != exact.text || r.unlike() {
			r.each(l.folded, own, tell)
		}
		r.mu.RLock()
		r.dressed(l.folded, own, tell)
		r.numbers(l.text, tell)
		r.mu.RUnlock()
	}
}

// unlike reports whether names are known that look like others.
func (r *Roll) unlike() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.looks) > 0
}

// lookUp returns the name of a key, and the key that it is kept under.
func (r *Roll) lookUp(k string, look bool) (*needle, string) {
	if n := r.needle[k]; n != nil || !look {
		return n, k
	}
	k = r.looks[k]
	return r.needle[k], k
}

// Bounds of names that are spelled out: how many letters or words are put together, how many letters the whole has, and how many when more
// stands around it.
const (
	maxSpelled  = 32
	maxPieces   = 8
	minSpelled  = 3
	minWithin   = 4
	maxGapBytes = 8
)

// dressed finds names that are spelled out (Q u i l l), put together with signs (Quill-feather), or have digits for letters (Qu1ll).
func (r *Roll) dressed(f folded, own []string, found func(n *needle, start, end int, k string)) {
	var run []span
	for i := 0; i < len(f.text); {
		end, next := token(f.text, i)
		if end == i {
			i = next
			continue
		}
		t := span{i, end}
		i = next
		r.leet(f, t, own, found)
		if len(run) > 0 && !f.goesOn(run, t) {
			r.spelled(f, run, own, found)
			run = run[:copy(run, run[len(run)-1:])]
			if !f.goesOn(run, t) {
				run = run[:0]
			}
		}
		run = append(run, t)
	}
	r.spelled(f, run, own, found)
}

// goesOn reports whether a word goes on what the words before it spell: all are single letters, or one sign stands between each two.
func (f folded) goesOn(run []span, next span) bool {
	last := run[len(run)-1]
	gap := f.text[last.end:next.start]
	if len(gap) > maxGapBytes || len(run) > 1 && gap != f.text[run[0].end:run[1].start] {
		return false
	}
	if f.single(last) && f.single(next) {
		return len(run) == 1 || f.single(run[0])
	}
	return !f.single(run[0]) == !f.single(next) && utf8.RuneCountInString(gap) == 1 && !strings.ContainsAny(gap, " /\\@:")
}

func (f folded) single(s span) bool { return utf8.RuneCountInString(f.text[s.start:s.end]) == 1 }

// spelled finds the names that some of these pieces make.
func (r *Roll) spelled(f folded, run []span, own []string, found func(n *needle, start, end int, k string)) {
	if len(run) < 2 {
		return
	}
	most, least := maxPieces, minGlued
	if f.single(run[0]) {
		if most, least = maxSpelled, minWithin; len(run) < minWithin {
			least = minSpelled
		}
	}
	var glued strings.Builder
	ends := make([]int, 0, len(run)+1)
	for _, s := range run {
		ends = append(ends, glued.Len())
		glued.WriteString(f.text[s.start:s.end])
	}
	ends = append(ends, glued.Len())
	for a := 0; a < len(run); a++ {
		for b := min(len(run), a+most); b > a+1; b-- {
			k := glued.String()[ends[a]:ends[b]]
			if len(k) < least {
				break
			}
			if n, k := r.lookUp(k, true); n != nil && r.counts(n, k, f, run[a].start, own) {
				found(n, run[a].start, run[b-1].end, k)
				a = b - 1
				break
			}
		}
	}
}

// leet finds a name with digits for letters.
func (r *Roll) leet(f folded, t span, own []string, found func(n *needle, start, end int, k string)) {
	word := f.text[t.start:t.end]
	if !fold.Leet(word) || r.needle[word] != nil {
		return
	}
	for _, w := range fold.Unleet(word) {
		if n, k := r.lookUp(w, true); n != nil && r.counts(n, k, f, t.start, own) {
			found(n, t.start, t.end, k)
			return
		}
	}
}
