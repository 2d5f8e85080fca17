package search

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
)

// asked is a query in two forms. Stored is what the index is asked, by real names. Shown is what a record has to fit as the reader sees it:
// under the veil a search finds exactly what it would find in a record that never held the names, so that no query tells of one. It is nil
// without the veil.
type asked struct {
	stored, shown *Expr
}

// find yields what fits, each as it is stored, with the record as it is shown beside it.
func (a asked) find(ctx context.Context, index Index, v *archive.View, cursor string) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		for s, err := range index.Find(ctx, a.stored, cursor) {
			f := found{stored: s, shown: s}
			if err == nil && a.shown != nil {
				f.shown.Record = v.Veil(s.Record)
				if !a.shown.Finds(TermsOf(f.shown.Record), s.Event.Time) {
					continue
				}
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

type found struct{ stored, shown archive.Selected }

// ask makes both forms of a query. Whom it names is disclosed; pseudonyms in it stay pseudonyms for the reader.
func (s *Searcher) ask(ctx context.Context, v *archive.View, e *Expr) (asked, error) {
	a := asked{stored: e.clone()}
	if v.Veils() {
		a.shown = e.clone()
	}
	if err := s.names(ctx, v, e); err != nil {
		return a, err
	}
	for _, x := range []*Expr{a.stored, a.shown} {
		if x == nil {
			continue
		}
		if err := s.resolve(ctx, v, x); err != nil { // matter:
			return a, err
		}
	}
	a.stored.replace(func(x *Expr) { x.byNames(v) })
	if a.shown != nil {
		a.shown.replace(func(x *Expr) { x.byShown(v) })
		a.stored.weaken()
	}
	return a, nil
}

// names discloses whom a query names. The beginning of a name names nobody.
func (s *Searcher) names(ctx context.Context, v *archive.View, e *Expr) error {
	var failed error
	e.Walk(func(x *Expr) {
		switch {
		case failed != nil:
		case x.Op == Facet && x.personal() && !x.Prefix:
			_, failed = v.Name(ctx, x.Value)
		case x.Op == Facet && x.Field == fieldMatter:
			failed = v.NameWithin(ctx, x.Value)
		case x.Op == Phrase:
			failed = v.NameWithin(ctx, x.whole())
		}
	})
	return failed
}

// personal reports whether a facet is a name of somebody or something that has a pseudonym.
func (e *Expr) personal() bool {
	return slices.Contains([]string{"from", "to", fieldPerson, "host"}, e.Field)
}

// whole returns the whole words of a phrase as they were written.
func (e *Expr) whole() string {
	if !e.Prefix {
		return e.said
	}
	return e.said[:strings.LastIndexAny(e.said, " \t\n")+1]
}

// replace lets f put something else in the place of each whole phrase and value. What NEAR stands between stays.
func (e *Expr) replace(f func(*Expr)) {
	if e.Op == Near {
		return
	}
	for _, a := range e.Args {
		a.replace(f)
	}
	if !e.Prefix && (e.Op == Facet || e.Op == Phrase) {
		f(e)
	}
}

// byNames puts names where a pseudonym stands, for the index.
func (e *Expr) byNames(v *archive.View) {
	switch {
	case e.Op == Facet && e.personal():
		if names, _ := v.Resolve(e.Value); len(names) > 0 {
			*e = Expr{Op: Or, Pos: e.Pos, Args: facets(e.Field, e.Pos, names)}
		}
	case e.Op == Phrase:
		names, _ := v.Resolve(e.said)
		if len(names) == 0 {
			return
		}
		list := facets(fieldPerson, e.Pos, names)
		for _, name := range names {
			if words := Tokens(name); len(words) > 0 {
				list = append(list, &Expr{Op: Phrase, Words: words, Pos: e.Pos})
			}
		}
		*e = Expr{Op: Or, Pos: e.Pos, Args: list}
	}
}

func facets(field string, pos int, names []string) []*Expr {
	var out []*Expr
	for _, name := range names {
		if value := Fold(name); value != "" {
			out = append(out, &Expr{Op: Facet, Field: field, Value: value, Pos: pos})
		}
	}
	return out
}

// byShown puts what the reader sees where a matter brought names in, and lets a pseudonym that stands as a word be who takes part, too.
func (e *Expr) byShown(v *archive.View) {
	switch {
	case e.Op == Facet && e.named != "":
		who := pseudonym.OfPerson(e.named)
		if e.Field == "host" {
			who = pseudonym.OfHost(e.named)
		}
		e.Value = Fold(v.Shown(who, e.named))
	case e.Op == Facet && e.personal():
		if p := v.Pseudonym(e.Value); p != "" {
			e.Value = Fold(p)
		}
	case e.Op == Phrase:
		if p := v.Pseudonym(e.said); p != "" {
			*e = Expr{Op: Or, Pos: e.Pos, Args: append(facets(fieldPerson, e.Pos, []string{p}), &Expr{Op: Phrase, Words: Tokens(p), Pos: e.Pos})}
		}
	}
}

// weaken takes out of what the index is asked each "not" that depends on names: what is left out because of a name would tell of it. What the
// reader sees decides then.
func (e *Expr) weaken() {
	if e.Op == Not {
		if e.telling() {
			*e = Expr{Op: All, Pos: e.Pos}
		}
		return
	}
	for _, a := range e.Args {
		a.weaken()
	}
}

// telling reports whether a part of a query can depend on a name.
func (e *Expr) telling() bool {
	found := false
	e.Walk(func(x *Expr) {
		switch x.Op {
		case Phrase, Near:
			found = true
		case Facet:
			found = found || !slices.Contains([]string{"kind", "verdict", "has", "connector", "app", "room"}, x.Field)
		}
	})
	return found
}

// clone returns a copy that shares nothing.
func (e *Expr) clone() *Expr {
	c := *e
	c.Words = slices.Clone(e.Words)
	c.Args = make([]*Expr, len(e.Args))
	for i, a := range e.Args {
		c.Args[i] = a.clone()
	}
	return &c
}
