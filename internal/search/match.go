package search

import (
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Match reports whether a record with these terms and that time fits the query. It is what an index must answer like.
func (e *Expr) Match(t Terms, at time.Time) bool {
	switch e.Op {
	case All:
		return true
	case And:
		return !slices.ContainsFunc(e.Args, func(a *Expr) bool { return !a.Match(t, at) })
	case Or:
		return slices.ContainsFunc(e.Args, func(a *Expr) bool { return a.Match(t, at) })
	case Not:
		return !e.Args[0].Match(t, at)
	case Phrase:
		return len(e.places(t.Text)) > 0
	case Near:
		return e.near(t.Text)
	case Facet:
		return e.facet(t.Facets)
	case After:
		return !at.Before(e.Time)
	case Before:
		return at.Before(e.Time)
	}
	return false
}

// Finds reports whether a search for the query finds a record. That is Match, but that an act or a delivery, which speaks of other records, is
// found only through a part of the query that asks for its kind: by `x OR kind:delivery` deliveries, and of the rest what holds x.
func (e *Expr) Finds(t Terms, at time.Time) bool {
	if _, speaks := slices.BinarySearch(t.Facets, kindFacet+string(event.Act)); !speaks {
		if _, speaks = slices.BinarySearch(t.Facets, kindFacet+string(event.Delivery)); !speaks {
			return e.Match(t, at)
		}
	}
	return e.asks(func(x *Expr) bool { return x.Match(t, at) })
}

const kindFacet = "kind="

// asks reports whether the query matches through a part that asks for acts or deliveries.
func (e *Expr) asks(matches func(*Expr) bool) bool {
	asks := func(x *Expr) bool { return x.asks(matches) }
	switch e.Op {
	case Facet:
		return e.administrative() && matches(e)
	case And:
		return slices.ContainsFunc(e.Args, asks) && matches(e)
	case Or:
		return slices.ContainsFunc(e.Args, asks)
	}
	return false // what is not asked for is no question for it
}

// places returns where the phrase begins.
func (e *Expr) places(text []string) []int {
	var out []int
	for i := 0; i+len(e.Words) <= len(text) && len(e.Words) > 0; i++ {
		if e.at(text[i : i+len(e.Words)]) {
			out = append(out, i)
		}
	}
	return out
}

func (e *Expr) at(text []string) bool {
	last := len(text) - 1
	for i, w := range e.Words {
		if text[i] != w && !(i == last && e.Prefix && strings.HasPrefix(text[i], w)) {
			return false
		}
	}
	return true
}

func (e *Expr) near(text []string) bool {
	first, second := e.Args[0], e.Args[1]
	others := second.places(text)
	for _, a := range first.places(text) {
		i, _ := slices.BinarySearch(others, a)
		if i < len(others) && others[i]-a-len(first.Words) <= e.Distance {
			return true
		}
		if i > 0 && a-others[i-1]-len(second.Words) <= e.Distance {
			return true
		}
	}
	return false
}

func (e *Expr) facet(facets []string) bool {
	want := e.Term()
	i, exact := slices.BinarySearch(facets, want)
	return exact || e.Prefix && i < len(facets) && strings.HasPrefix(facets[i], want)
}

// Term returns the facet, or the beginning of one, that the expression asks for.
func (e *Expr) Term() string {
	if e.Field == fieldPerson {
		return facetWho + "=" + e.Value
	}
	return e.Field + "=" + e.Value
}
