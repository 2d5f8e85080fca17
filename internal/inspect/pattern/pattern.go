// Package pattern finds what has a form: payment cards, account numbers, keys. A regular expression says what it looks like, a check
// (Luhn and issuer, IBAN modulo 97, social security area) whether it can be one. Digits are found in any width and with separators.
package pattern

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
)

// Pattern is a named form. With the checks card, iban and ssn the expression may be empty: then their own finders look for them.
type Pattern struct {
	Name       string
	Regex      string
	Check      string           // none, luhn, card, iban or ssn
	Confidence event.Confidence // 0 is event.High
}

// Bounds of what is told of one text.
const (
	maxSpans   = 100
	maxMatches = 1000
)

// Inspector finds patterns in texts.
type Inspector struct {
	patterns []compiled
	version  string
}

var _ inspect.Immediate = (*Inspector)(nil)

type compiled struct {
	Pattern
	regex    *regexp.Regexp
	prefixes []string // every match begins with one of them
	digits   int      // a text with fewer digits has no match
	check    func(digits string) bool
	find     func(t *text) []event.Span
}

// New compiles the patterns.
func New(patterns []Pattern) (*Inspector, error) {
	in := &Inspector{}
	h := sha256.New()
	for _, p := range patterns {
		fmt.Fprintf(h, "%q %q %q %d\n", p.Name, p.Regex, p.Check, p.Confidence)
		c, err := compile(p)
		if err != nil {
			return nil, fmt.Errorf("pattern %s: %w", p.Name, err)
		}
		in.patterns = append(in.patterns, c)
	}
	in.version = hex.EncodeToString(h.Sum(nil))[:12]
	return in, nil
}

func compile(p Pattern) (compiled, error) {
	c := compiled{Pattern: p}
	if c.Confidence == 0 {
		c.Confidence = event.High
	}
	switch p.Check {
	case "", "none":
	case "luhn":
		c.check, c.digits = luhn, 2
	case "card":
		c.check, c.find, c.digits = isCard, findCards, 12
	case "iban":
		c.check, c.find, c.digits = isIBAN, findIBANs, 6
	case "ssn":
		c.check, c.find, c.digits = isSSN, findSSNs, 9
	default:
		return c, fmt.Errorf("unknown check %q: none, luhn, card, iban or ssn", p.Check)
	}
	if p.Regex == "" {
		if c.find == nil {
			return c, fmt.Errorf("a regex is needed")
		}
		return c, nil
	}
	c.find = nil
	var err error
	if c.regex, err = regexp.Compile(p.Regex); err != nil {
		return c, fmt.Errorf("regex: %w", err)
	}
	if c.regex.MatchString("") {
		return c, fmt.Errorf("the regex matches an empty text")
	}
	c.prefixes = prefixesOf(p.Regex)
	return c, nil
}

// Name returns "pattern".
func (in *Inspector) Name() string { return "pattern" }

// Version identifies the patterns.
func (in *Inspector) Version() string { return in.version }

// Immediate says that it answers from memory.
func (in *Inspector) Immediate() {}

// Inspect finds the patterns in the text of an item. Files have none.
func (in *Inspector) Inspect(_ context.Context, item *inspect.Item) inspect.Result {
	if item.Text == "" {
		return inspect.Result{}
	}
	t := &text{original: item.Text}
	var out inspect.Result
	for i := range in.patterns {
		p := &in.patterns[i]
		spans := p.spans(t)
		if len(spans) == 0 {
			continue
		}
		out.Hits = append(out.Hits, event.Hit{Inspector: "pattern", Name: p.Name, Count: len(spans), Confidence: p.Confidence,
			Spans: spans[:min(len(spans), maxSpans)], Version: in.version})
	}
	return out
}

func (c *compiled) spans(t *text) []event.Span {
	if c.digits > 0 && t.digitCount() < c.digits {
		return nil
	}
	if c.find != nil {
		return c.find(t)
	}
	if !mayMatch(t.original, c.prefixes) {
		return nil
	}
	var out []event.Span
	at, points := 0, 0 // code points before byte at
	for _, m := range c.regex.FindAllStringIndex(t.original, maxMatches) {
		if c.check != nil && !c.check(significant(t.original[m[0]:m[1]], c.Check == "iban")) {
			continue
		}
		points += utf8.RuneCountInString(t.original[at:m[0]])
		length := utf8.RuneCountInString(t.original[m[0]:m[1]])
		out = append(out, event.Span{Start: points, End: points + length})
		at, points = m[1], points+length
	}
	return out
}

// significant keeps the digits of a match, folded, for its check; of an account number its letters too.
func significant(s string, letters bool) string {
	var b strings.Builder
	for _, r := range s {
		if r = fold(r); isDigit(r) || letters && isLetter(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// text is a text with its code points, folded when first asked for.
type text struct {
	original string
	runes    []rune
	digits   int
	counted  bool
}

func (t *text) digitCount() int {
	if !t.counted {
		t.counted = true
		for _, r := range t.original {
			if isDigit(fold(r)) {
				t.digits++
			}
		}
	}
	return t.digits
}

// points returns the folded code points of the text: full-width and mathematical digits as plain ones, letters in upper case.
func (t *text) points() []rune {
	if t.runes == nil {
		t.runes = make([]rune, 0, len(t.original))
		for _, r := range t.original {
			t.runes = append(t.runes, fold(r))
		}
	}
	return t.runes
}

func fold(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return r - 'a' + 'A'
	case r < utf8.RuneSelf:
		return r
	case '０' <= r && r <= '９':
		return r - '０' + '0'
	case 'Ａ' <= r && r <= 'Ｚ':
		return r - 'Ａ' + 'A'
	case 'ａ' <= r && r <= 'ｚ':
		return r - 'ａ' + 'A'
	case 0x1D7CE <= r && r <= 0x1D7FF: // mathematical digits, five alphabets of ten
		return (r-0x1D7CE)%10 + '0'
	case '٠' <= r && r <= '٩':
		return r - '٠' + '0'
	case '۰' <= r && r <= '۹':
		return r - '۰' + '0'
	}
	return r
}

func isDigit(r rune) bool  { return '0' <= r && r <= '9' }
func isLetter(r rune) bool { return 'A' <= r && r <= 'Z' }

// isSeparator reports whether people write this between groups of digits. Invisible characters count: they are put there to hide.
func isSeparator(r rune) bool {
	return slices.Contains([]rune{' ', '-', '.', '\u00A0', '\u2007', '\u202F', '\u2009', '\u2010', '\u2011', '\u2013', '\u200B', '\u200C', '\u200D', '\u2060', '\uFEFF', '\u00AD'}, r)
}
