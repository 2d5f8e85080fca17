package search

import (
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Op says what an Expr is.
type Op int

// The operations.
const (
	All    Op = iota // every record
	And              // every one of Args
	Or               // one of Args
	Not              // not Args[0]
	Phrase           // the tokens Words in a row; with Prefix the last one is the beginning of a word
	Near             // Args[0] and Args[1], phrases both, with at most Distance tokens between them, in either order
	Facet            // Field has the value Value, or with Prefix one that begins so
	After            // at Time or later
	Before           // earlier than Time
)

// Expr is a query, or a part of one.
type Expr struct {
	Op       Op
	Args     []*Expr
	Words    []string
	Prefix   bool
	Distance int
	Field    string
	Value    string // folded
	Time     time.Time
	Pos      int // where it stands in the query, in characters

	named string // the name that a matter put here
	said  string // a phrase as it was written
}

// Quoted writes the value of a field so that it is read back as it is.
func Quoted(value string) string { return `"` + strings.ReplaceAll(value, `"`, `""`) + `"` }

// The fields of a query. person: is anybody concerned, by person, handle or name; a host's person too.
const (
	fieldPerson = "person"
	fieldMatter = "matter"
	fieldAfter  = "after"
	fieldBefore = "before"
	facetWho    = "who"
)

// The values of has:.
const (
	hasFile         = "file"
	hasLink         = "link"
	hasHit          = "hit"
	hasNotInspected = "not-inspected"
)

// Walk calls f for e and every part of it.
func (e *Expr) Walk(f func(*Expr)) {
	f(e)
	for _, a := range e.Args {
		a.Walk(f)
	}
}

// Administrative reports whether the query asks for kinds that searches leave out otherwise, acts and deliveries, which speak of other
// records; and whether all that it can find is of these. To leave them out with NOT is not to ask for them.
func (e *Expr) Administrative() (asks, only bool) {
	switch e.Op {
	case Facet:
		return e.administrative(), e.administrative()
	case And, Or:
		only = e.Op == Or
		for _, a := range e.Args {
			part, alone := a.Administrative()
			asks = asks || part
			if e.Op == And {
				only = only || alone
			} else {
				only = only && alone
			}
		}
	}
	return asks, only
}

func (e *Expr) administrative() bool {
	return e.Op == Facet && e.Field == "kind" && (e.Value == string(event.Act) || e.Value == string(event.Delivery))
}

// Span returns the moments outside which nothing can match: those of after: and before: that hold for the whole query.
func (e *Expr) Span() (from, to time.Time) {
	switch e.Op {
	case After:
		return e.Time, time.Time{}
	case Before:
		return time.Time{}, e.Time
	case And:
		for _, a := range e.Args {
			f, t := a.Span()
			if f.After(from) {
				from = f
			}
			if !t.IsZero() && (to.IsZero() || t.Before(to)) {
				to = t
			}
		}
	}
	return from, to
}
