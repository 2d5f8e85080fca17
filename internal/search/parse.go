package search

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Limits of a query.
const (
	maxQuery    = 4096 // bytes
	maxDepth    = 32   // of parentheses and NOTs
	maxParts    = 256  // words, phrases and fields
	maxDistance = 100  // of NEAR
)

// SyntaxError says where a query cannot be understood, and why.
type SyntaxError struct {
	Pos  int    // in characters, from 0
	Text string // what is wrong and what to write instead
}

// Error says the position as people count.
func (e *SyntaxError) Error() string { return fmt.Sprintf("query, character %d: %s", e.Pos+1, e.Text) }

// Parse reads a query. "" and "*" are every record.
func Parse(query string) (*Expr, error) {
	if len(query) > maxQuery {
		return nil, &SyntaxError{maxQuery, fmt.Sprintf("a query has at most %d bytes", maxQuery)}
	}
	if !utf8.ValidString(query) {
		return nil, &SyntaxError{0, "the query is not UTF-8"}
	}
	if s := strings.TrimSpace(query); s == "" || s == "*" {
		return &Expr{Op: All}, nil
	}
	e, err := parse(query)
	if err != nil {
		var mistake *SyntaxError
		if errors.As(err, &mistake) {
			mistake.Pos = characters(query, mistake.Pos)
		}
		return nil, err
	}
	e.Walk(func(part *Expr) { part.Pos = characters(query, part.Pos) })
	return e, nil
}

// characters turns a place in bytes, as the lexer counts, into one in characters, as people do.
func characters(query string, pos int) int {
	return utf8.RuneCountInString(query[:min(pos, len(query))])
}

func parse(query string) (*Expr, error) {
	p := &parser{lexer: lexer{in: query}}
	if err := p.next(); err != nil {
		return nil, err
	}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokEnd {
		return nil, p.unexpected()
	}
	return e, nil
}

type parser struct {
	lexer
	tok   token
	parts int
}

func (p *parser) next() (err error) {
	p.tok, err = p.lexer.next()
	return err
}

func (p *parser) unexpected() error {
	if p.tok.kind == tokEnd {
		return &SyntaxError{p.tok.pos, "the query ends where a word was expected"}
	}
	return &SyntaxError{p.tok.pos, fmt.Sprintf("%s stands where it cannot", p.tok)}
}

// or parses parts joined by OR, the operator that binds least.
func (p *parser) or(depth int) (*Expr, error) { return p.list(depth, Or, tokOr, p.and) }

// and parses parts side by side, with or without AND between them.
func (p *parser) and(depth int) (*Expr, error) { return p.list(depth, And, tokAnd, p.not) }

func (p *parser) list(depth int, op Op, joiner tokenKind, part func(int) (*Expr, error)) (*Expr, error) {
	first, err := part(depth)
	if err != nil {
		return nil, err
	}
	e := &Expr{Op: op, Args: []*Expr{first}, Pos: first.Pos}
	for {
		joined := p.tok.kind == joiner
		if joined {
			if err := p.next(); err != nil {
				return nil, err
			}
		}
		if !joined && (op == Or || !p.tok.begins()) {
			break
		}
		next, err := part(depth)
		if err != nil {
			return nil, err
		}
		e.Args = append(e.Args, next)
	}
	if len(e.Args) == 1 {
		return first, nil
	}
	return e, nil
}

func (p *parser) not(depth int) (*Expr, error) {
	if p.tok.kind != tokNot {
		return p.near(depth)
	}
	if depth >= maxDepth {
		return nil, &SyntaxError{p.tok.pos, fmt.Sprintf("the query is nested more than %d deep", maxDepth)}
	}
	pos := p.tok.pos
	if err := p.next(); err != nil {
		return nil, err
	}
	arg, err := p.not(depth + 1)
	if err != nil {
		return nil, err
	}
	return &Expr{Op: Not, Args: []*Expr{arg}, Pos: pos}, nil
}

// near parses one part, or two with NEAR/n between them.
func (p *parser) near(depth int) (*Expr, error) {
	first, err := p.primary(depth)
	if err != nil || p.tok.kind != tokNear {
		return first, err
	}
	tok := p.tok
	if err := p.next(); err != nil {
		return nil, err
	}
	second, err := p.primary(depth)
	if err != nil {
		return nil, err
	}
	for _, e := range []*Expr{first, second} {
		if e.Op != Phrase {
			return nil, &SyntaxError{e.Pos, "NEAR stands between two words or phrases"}
		}
	}
	if p.tok.kind == tokNear {
		return nil, &SyntaxError{p.tok.pos, "NEAR takes two words; join two of them with AND"}
	}
	return &Expr{Op: Near, Args: []*Expr{first, second}, Distance: tok.distance, Pos: first.Pos}, nil
}

func (p *parser) primary(depth int) (*Expr, error) {
	tok := p.tok
	if !tok.begins() || tok.kind == tokNot {
		return nil, p.unexpected()
	}
	if p.parts++; p.parts > maxParts {
		return nil, &SyntaxError{tok.pos, fmt.Sprintf("a query has at most %d parts", maxParts)}
	}
	if tok.kind == tokOpen {
		return p.group(depth)
	}
	e, err := tok.expr()
	if err != nil {
		return nil, err
	}
	return e, p.next()
}

func (p *parser) group(depth int) (*Expr, error) {
	open := p.tok.pos
	if depth >= maxDepth {
		return nil, &SyntaxError{open, fmt.Sprintf("the query is nested more than %d deep", maxDepth)}
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	e, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokClose {
		return nil, &SyntaxError{open, "this parenthesis is never closed"}
	}
	return e, p.next()
}

// expr makes the expression of a word, phrase or field.
func (t token) expr() (*Expr, error) {
	if t.kind == tokField {
		return t.field()
	}
	if t.text == "" && t.prefix {
		return &Expr{Op: All, Pos: t.pos}, nil
	}
	words := Tokens(t.text)
	if len(words) == 0 {
		return nil, &SyntaxError{t.pos, fmt.Sprintf("%s holds no letter, digit or symbol that could be found", t)}
	}
	return &Expr{Op: Phrase, Words: words, Prefix: t.prefix, Pos: t.pos, said: t.text}, nil
}

func (t token) field() (*Expr, error) {
	if t.name == fieldAfter || t.name == fieldBefore {
		at, err := parseTime(t.text)
		if err != nil || t.prefix {
			return nil, &SyntaxError{t.pos, fmt.Sprintf("%q is no date; write 2024, 2024-03, 2024-03-01 or 2024-03-01T09:30:00Z", t.text)}
		}
		op := After
		if t.name == fieldBefore {
			op = Before
		}
		return &Expr{Op: op, Time: at, Pos: t.pos}, nil
	}
	value := Fold(t.text)
	if value == "" {
		return nil, &SyntaxError{t.pos, fmt.Sprintf("%s: needs a value", t.name)}
	}
	if known := valuesOf(t.name); known != nil && (t.prefix || !slices.Contains(known, value)) {
		return nil, &SyntaxError{t.pos, fmt.Sprintf("%s: is one of %s", t.name, strings.Join(known, ", "))}
	}
	return &Expr{Op: Facet, Field: t.name, Value: value, Prefix: t.prefix, Pos: t.pos}, nil
}

// fields are the names that may stand before a colon.
func fields() []string {
	return []string{"from", "to", fieldPerson, "room", "connector", "kind", "verdict", "rule", "has", "file", fieldMatter, fieldAfter, fieldBefore, "app", "host", "hit"}
}

// valuesOf lists the values of a field that has a fixed set of them.
func valuesOf(field string) []string {
	switch field {
	case "kind":
		var out []string
		for _, k := range []event.Kind{event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave,
			event.RoomChange, event.Delivery, event.Call, event.FlowSeen, event.DNSQuery, event.WebRequest, event.ProgramRun, event.FindingHit,
			event.MediaIn, event.VerdictSet, event.Gap, event.Act} {
			out = append(out, string(k))
		}
		return out
	case "verdict":
		return []string{string(event.Allow), string(event.Hold), string(event.Quarantine), string(event.Block)}
	case "has":
		return []string{hasFile, hasLink, hasHit, hasNotInspected}
	}
	return nil
}

// parseTime reads a date or a moment; what is left out is its beginning, in UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006", "2006-01", time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, strconv.ErrSyntax
}
