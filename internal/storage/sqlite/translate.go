package sqlite

import (
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/search"
)

// sense is what a part of a query becomes in FTS5's language.
type sense int

const (
	every sense = iota // matches all rows, or may
	never              // matches none
	some               // matches those of text
)

// clause is a query in FTS5's language. It never leaves out a row that the query matches; exact says that it also lets in no other.
type clause struct {
	sense sense
	text  string
	exact bool
}

// translate makes a clause of a query. Within an odd number of NOTs (under) what FTS5 cannot say becomes "never", else "every".
func translate(e *search.Expr, under bool) clause {
	switch e.Op {
	case search.All:
		return clause{every, "", true}
	case search.Phrase:
		return clause{some, "text:" + phrase(e.Words, e.Prefix), true}
	case search.Near:
		a, b := e.Args[0], e.Args[1]
		return clause{some, "text:NEAR(" + phrase(a.Words, a.Prefix) + " " + phrase(b.Words, b.Prefix) + "," + strconv.Itoa(e.Distance) + ")", true}
	case search.Facet:
		return clause{some, "facets:" + phrase([]string{e.Term()}, e.Prefix), true}
	case search.Not:
		return negate(translate(e.Args[0], !under))
	case search.And:
		return conjunction(e.Args, under)
	case search.Or:
		return disjunction(e.Args, under)
	}
	if under { // After and Before
		return clause{never, "", false}
	}
	return clause{every, "", false}
}

// phrase quotes tokens as one FTS5 phrase.
func phrase(words []string, prefix bool) string {
	out := `"` + strings.ReplaceAll(strings.Join(words, " "), `"`, `""`) + `"`
	if prefix {
		out += "*"
	}
	return out
}

func negate(c clause) clause {
	switch c.sense {
	case every:
		c.sense = never
	case never:
		c.sense = every
	default:
		c.text = "(" + phraseOfAll + " NOT " + c.text + ")"
	}
	return c
}

const phraseOfAll = `facets:"` + search.Everything + `"`

// conjunction joins with AND. Its NOTs become FTS5's own NOT behind the others, which costs nothing for what they leave.
func conjunction(args []*search.Expr, under bool) clause {
	out := clause{every, "", true}
	var with, without []string
	for _, a := range args {
		inner, negated := a, a.Op == search.Not
		if negated {
			inner = a.Args[0]
		}
		c := translate(inner, under != negated)
		out.exact = out.exact && c.exact
		switch {
		case c.sense == some && negated:
			without = append(without, c.text)
		case c.sense == some:
			with = append(with, c.text)
		case (c.sense == never) != negated:
			return clause{never, "", c.exact}
		}
	}
	if len(with)+len(without) == 0 {
		return out
	}
	out.sense = some
	if len(with) == 0 {
		with = []string{phraseOfAll}
	}
	out.text = "(" + strings.Join(with, " AND ") + ")"
	if len(without) > 0 {
		out.text = "(" + out.text + " NOT (" + strings.Join(without, " OR ") + "))"
	}
	return out
}

func disjunction(args []*search.Expr, under bool) clause {
	out := clause{never, "", true}
	var parts []string
	for _, a := range args {
		c := translate(a, under)
		out.exact = out.exact && c.exact
		switch c.sense {
		case every:
			return clause{every, "", c.exact}
		case some:
			parts = append(parts, c.text)
		}
	}
	if len(parts) > 0 {
		out.sense, out.text = some, "("+strings.Join(parts, " OR ")+")"
	}
	return out
}
