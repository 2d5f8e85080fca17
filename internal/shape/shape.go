// Package shape looks at a YAML file before it is parsed, and refuses what would keep the parser busy without bound: nesting. It costs one pass
// over bytes, and one over tokens for what passes that.
package shape

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// MaxNesting is how deep a file may nest.
const MaxNesting = 64

// Bounds of the first look, which does not tell brackets in quotes from others.
const (
	maxOpen   = 16 * MaxNesting // brackets open at once
	maxIndent = 4 * MaxNesting  // longest indentation, dashes counted: no block can be nested deeper
)

// Error is a file that is nested too deeply. Line is 0 when its place is not known.
type Error struct{ Line, Column int }

// Error says so.
func (e *Error) Error() string {
	if e.Line == 0 {
		return "nested too deeply"
	}
	return fmt.Sprintf("%d:%d: nested too deeply", e.Line, e.Column)
}

// Check returns an *Error for what is nested too deeply. For each token it calls see, which may be nil and whose error it returns.
func Check(data []byte, see func(*token.Token) error) error {
	if brackets(data) > maxOpen || indentation(data) > maxIndent {
		return &Error{}
	}
	depth := 0
	for _, t := range lexer.Tokenize(string(data)) {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		if depth > MaxNesting {
			return &Error{t.Position.Line, t.Position.Column}
		}
		if see == nil {
			continue
		}
		if err := see(t); err != nil {
			return err
		}
	}
	return nil
}

// brackets returns how many are open at most.
func brackets(data []byte) int {
	open, most := 0, 0
	for _, c := range data {
		switch c {
		case '[', '{':
			open++
			most = max(most, open)
		case ']', '}':
			open = max(open-1, 0)
		}
	}
	return most
}

func indentation(data []byte) int {
	deepest := 0
	for line := range bytes.Lines(data) {
		deepest = max(deepest, len(line)-len(bytes.TrimLeft(line, " -?:\t")))
	}
	return deepest
}
