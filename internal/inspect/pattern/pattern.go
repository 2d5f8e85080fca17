// Package pattern finds what has a form: payment cards, account numbers, keys. A regular expression says what it looks like, a check
// (Luhn and issuer, IBAN modulo 97, social security area) whether it can be one. Digits are found in any script and with
// separators. Expressions see the text as it is written and in plain letters, the finders of cards, accounts and social security numbers see it
// folded (package fold).
package pattern

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/fold"
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
	find     func(points []point) [][2]int // which points it finds, from and up to
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
	t := newText(item.Text)
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
	if c.find != nil {
		return t.found(c)
	}
	var out []event.Span
	for _, v := range t.written() {
		out = append(out, c.matches(v)...)
	}
	if len(out) == 0 || len(t.written()) == 1 {
		return out
	}
	return fold.Merge(out)
}

// matches returns what the expression finds in one reading of a text.
func (c *compiled) matches(v *view) []event.Span {
	if !mayMatch(v.Text, c.prefixes) || v.digitCount() < c.digits {
		return nil
	}
	var out []event.Span
	at, points := 0, 0 // code points before byte at
	for _, m := range c.regex.FindAllStringIndex(v.Text, maxMatches) {
		if c.check != nil && !c.check(significant(v.Text[m[0]:m[1]], c.Check == "iban")) {
			continue
		}
		points += utf8.RuneCountInString(v.Text[at:m[0]])
		length := utf8.RuneCountInString(v.Text[m[0]:m[1]])
		out = append(out, v.Span(points, points+length))
		at, points = m[1], points+length
	}
	return out
}

// significant keeps the digits of a match, folded, for its check; of an account number its letters too.
func significant(s string, letters bool) string {
	var b strings.Builder
	for _, p := range pointsOf(s) {
		if isDigit(p.r) || letters && isLetter(p.r) {
			b.WriteRune(p.r)
		}
	}
	return b.String()
}
