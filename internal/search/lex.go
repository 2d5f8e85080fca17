package search

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	tokEnd tokenKind = iota
	tokOpen
	tokClose
	tokAnd
	tokOr
	tokNot
	tokNear
	tokWord
	tokPhrase
	tokField
)

type token struct {
	kind     tokenKind
	pos      int
	text     string // of words, phrases and fields
	name     string // of fields
	prefix   bool
	distance int
}

// begins reports whether a part of a query can begin with the token.
func (t token) begins() bool {
	return t.kind == tokOpen || t.kind == tokNot || t.kind == tokWord || t.kind == tokPhrase || t.kind == tokField
}

// String shows the token as it was written, for error messages.
func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokField:
		return fmt.Sprintf("%q", t.name+":"+t.text)
	case tokPhrase:
		return fmt.Sprintf("the phrase %q", t.text)
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer cuts a query into tokens.
type lexer struct {
	in  string
	off int
}

func (l *lexer) next() (token, error) {
	for l.off < len(l.in) {
		r, n := utf8.DecodeRuneInString(l.in[l.off:])
		if !unicode.IsSpace(r) {
			break
		}
		l.off += n
	}
	t := token{pos: l.off}
	if l.off == len(l.in) {
		return t, nil
	}
	switch l.in[l.off] {
	case '(':
		t.kind, t.text = tokOpen, "("
		l.off++
	case ')':
		t.kind, t.text = tokClose, ")"
		l.off++
	case '"':
		t.kind = tokPhrase
		return t, l.quoted(&t)
	default:
		return l.word(t)
	}
	return t, nil
}

// quoted reads "…" into t.text, and the * after it. In the value of a field "" is one quotation mark; in a phrase no mark is looked for.
func (l *lexer) quoted(t *token) error {
	open := l.off
	for l.off++; ; l.off++ {
		end := strings.IndexByte(l.in[l.off:], '"')
		if end < 0 {
			return &SyntaxError{open, "this quotation mark is never closed"}
		}
		t.text += l.in[l.off : l.off+end]
		l.off += end + 1
		if t.kind != tokField || l.off == len(l.in) || l.in[l.off] != '"' {
			break
		}
		t.text += `"`
	}
	if l.off < len(l.in) && l.in[l.off] == '*' {
		t.prefix = true
		l.off++
	}
	return nil
}

func (l *lexer) word(t token) (token, error) {
	end := l.off
	for end < len(l.in) {
		r, n := utf8.DecodeRuneInString(l.in[end:])
		if unicode.IsSpace(r) || r == '(' || r == ')' || r == '"' {
			break
		}
		end += n
		if r == ':' && isFieldName(l.in[l.off:end-1]) {
			return l.field(t, end)
		}
	}
	t.text = l.in[l.off:end]
	l.off = end
	return t, t.classify()
}

// isFieldName reports whether the word before a colon looks like the name of a field: letters only.
func isFieldName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) < 0
}

func (l *lexer) field(t token, colon int) (token, error) {
	t.kind, t.name = tokField, l.in[l.off:colon-1]
	if !slices.Contains(fields(), t.name) {
		return t, &SyntaxError{t.pos, fmt.Sprintf("%s: is no field (they are %s); put words with a colon in quotation marks",
			t.name, strings.Join(fields(), ", "))}
	}
	l.off = colon
	if l.off < len(l.in) && l.in[l.off] == '"' {
		return t, l.quoted(&t)
	}
	end := strings.IndexFunc(l.in[l.off:], func(r rune) bool { return unicode.IsSpace(r) || r == '(' || r == ')' || r == '"' })
	if end < 0 {
		end = len(l.in) - l.off
	}
	t.text, t.prefix = strings.CutSuffix(l.in[l.off:l.off+end], "*")
	l.off += end
	return t, nil
}

// classify tells operators from words.
func (t *token) classify() error {
	switch t.text {
	case "AND":
		t.kind = tokAnd
	case "OR":
		t.kind = tokOr
	case "NOT":
		t.kind = tokNot
	case "NEAR":
		return &SyntaxError{t.pos, "NEAR needs a distance, as in NEAR/3"}
	default:
		if digits, ok := strings.CutPrefix(t.text, "NEAR/"); ok {
			return t.near(digits)
		}
		t.kind = tokWord
		t.text, t.prefix = strings.CutSuffix(t.text, "*")
		if i := strings.IndexByte(t.text, '*'); i >= 0 {
			return &SyntaxError{t.pos + i, "* stands at the end of a word only"}
		}
	}
	return nil
}

func (t *token) near(digits string) error {
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > maxDistance {
		return &SyntaxError{t.pos, fmt.Sprintf("the distance of NEAR is a number from 0 to %d", maxDistance)}
	}
	t.kind, t.distance = tokNear, n
	return nil
}
