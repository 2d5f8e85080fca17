// Package lexicon finds words, phrases and words near each other in texts, however they are written: it folds case, accents, width,
// look-alike letters and invisible characters on both sides, sees through digits for letters and other views of the text (package fold), and tells where a hit stands in the original text, in code points.
//
// All lexicons are put into one trie of words, so the time for a text does not depend on how many there are.
package lexicon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/fold"
)

// Lexicon is a named list of words and phrases. A word that ends in * stands for all that begin so.
type Lexicon struct {
	Name       string
	Words      []string
	Near       []Near
	Confidence event.Confidence // 0 is event.High
}

// Near is a list of terms that must all stand within a number of words, in any order. A | separates alternatives of one term.
type Near struct {
	Terms  []string
	Within int
}

// Bounds of what is looked for and of what is told.
const (
	maxEntries = 200_000
	maxSpans   = 100
)

// Inspector finds the entries of its lexicons.
type Inspector struct {
	lexicons []Lexicon
	near     []near
	root     node
	version  string
}

var _ inspect.Immediate = (*Inspector)(nil)

// node is a place in the trie: the words that may follow, and what ends here.
type node struct {
	next     map[string]*node
	squeezed map[string][]prefix // the same by squeezed word, for stretched ones
	prefixes []prefix
	ends     []end
}

// prefix is a place that a text leads to.
type prefix struct {
	text string
	node *node
}

// end is what is found when a node is reached: an entry of a lexicon, or one term of a near.
type end struct{ lexicon, near, term int }

type near struct {
	lexicon, terms, within int
}

// New builds an inspector of these lexicons.
func New(lexicons []Lexicon) (*Inspector, error) {
	in := &Inspector{lexicons: lexicons}
	h := sha256.New()
	entries := 0
	for l, lex := range lexicons {
		fmt.Fprintf(h, "%q %d %q %v\n", lex.Name, lex.Confidence, lex.Words, lex.Near)
		entries += len(lex.Words) + len(lex.Near)
		for _, w := range lex.Words {
			if err := in.insert(w, end{lexicon: l, near: -1}); err != nil {
				return nil, fmt.Errorf("lexicon %s: %w", lex.Name, err)
			}
		}
		for _, n := range lex.Near {
			for t, term := range n.Terms {
				for alternative := range strings.SplitSeq(term, "|") {
					if err := in.insert(alternative, end{lexicon: l, near: len(in.near), term: t}); err != nil {
						return nil, fmt.Errorf("lexicon %s: %w", lex.Name, err)
					}
				}
			}
			in.near = append(in.near, near{l, len(n.Terms), n.Within})
		}
	}
	if entries > maxEntries {
		return nil, fmt.Errorf("lexicons have more than %d entries", maxEntries)
	}
	in.version = hex.EncodeToString(h.Sum(nil))[:12]
	return in, nil
}

func (in *Inspector) insert(text string, e end) error {
	words := split(text)
	if len(words) == 0 || len(words) > 16 {
		return fmt.Errorf("%q has no word, or more than 16", text)
	}
	at := &in.root
	for i, w := range words {
		if i == len(words)-1 && strings.HasSuffix(text, "*") {
			at = at.prefixed(w.text)
		} else {
			at = at.following(w.text)
		}
	}
	at.ends = append(at.ends, e)
	return nil
}

func (n *node) following(text string) *node {
	if n.next == nil {
		n.next = map[string]*node{}
	}
	if n.next[text] == nil {
		n.next[text] = &node{}
		if n.squeezed == nil {
			n.squeezed = map[string][]prefix{}
		}
		key := squeeze(text)
		n.squeezed[key] = append(n.squeezed[key], prefix{text, n.next[text]})
	}
	return n.next[text]
}

func (n *node) prefixed(text string) *node {
	for _, p := range n.prefixes {
		if p.text == text {
			return p.node
		}
	}
	n.prefixes = append(n.prefixes, prefix{text, &node{}})
	return n.prefixes[len(n.prefixes)-1].node
}

// Name returns "lexicon".
func (in *Inspector) Name() string { return "lexicon" }

// Version identifies the lexicons.
func (in *Inspector) Version() string { return in.version }

// Immediate says that it answers from memory.
func (in *Inspector) Immediate() {}

// Inspect finds the entries in the text of an item. Files have none.
func (in *Inspector) Inspect(_ context.Context, item *inspect.Item) inspect.Result {
	if item.Text == "" {
		return inspect.Result{}
	}
	s := search{in: in}
	for _, view := range fold.Views(item.Text) {
		s.look(&view)
	}
	return inspect.Result{Hits: s.hits()}
}

// occurrence is a term of a near, from word to word (both in it).
type occurrence struct{ term, first, last int }

type search struct {
	in    *Inspector
	view  *fold.View
	words []word
	spans map[int][]event.Span // by lexicon
	terms map[int][]occurrence // by near
}

// look looks for the entries in one view of the text.
func (s *search) look(view *fold.View) {
	s.view, s.words, s.terms = view, split(view.Text), nil
	for i := range s.words {
		s.walk(&s.in.root, i, i)
	}
	s.findNear()
}

// walk follows the trie from node n with word i; the entry began with word first.
func (s *search) walk(n *node, first, i int) {
	if i >= len(s.words) {
		return
	}
	w := s.words[i].text
	if next := n.next[w]; next != nil {
		s.reach(next, first, i)
		s.walk(next, first, i+1)
	}
	if s.words[i].stretched {
		s.walkStretched(n, first, i)
	}
	if s.words[i].leet {
		s.walkLeet(n, first, i)
	}
	for _, p := range n.prefixes {
		if strings.HasPrefix(w, p.text) {
			s.reach(p.node, first, i)
		}
	}
}

// walkStretched follows the words that word i may stand for when letters were repeated.
func (s *search) walkStretched(n *node, first, i int) {
	w := s.words[i]
	for _, p := range n.squeezed[squeeze(w.text)] {
		if p.text != w.text && fits(w.text, p.text, w.least(), false) {
			s.reach(p.node, first, i)
			s.walk(p.node, first, i+1)
		}
	}
	for _, p := range n.prefixes {
		if !strings.HasPrefix(w.text, p.text) && fits(w.text, p.text, w.least(), true) {
			s.reach(p.node, first, i)
		}
	}
}

// walkLeet follows the words that word i may stand for when digits were written for letters.
func (s *search) walkLeet(n *node, first, i int) {
	for _, w := range fold.Unleet(s.words[i].text) {
		if next := n.next[w]; next != nil {
			s.reach(next, first, i)
			s.walk(next, first, i+1)
		}
		for _, p := range n.prefixes {
			if strings.HasPrefix(w, p.text) && !strings.HasPrefix(s.words[i].text, p.text) {
				s.reach(p.node, first, i)
			}
		}
	}
}

func (s *search) reach(n *node, first, last int) {
	for _, e := range n.ends {
		if e.near < 0 {
			s.found(e.lexicon, first, last)
			continue
		}
		if s.terms == nil {
			s.terms = map[int][]occurrence{}
		}
		s.terms[e.near] = append(s.terms[e.near], occurrence{e.term, first, last})
	}
}

func (s *search) found(lexicon, first, last int) {
	if s.spans == nil {
		s.spans = map[int][]event.Span{}
	}
	s.spans[lexicon] = append(s.spans[lexicon], s.view.Span(s.words[first].start, s.words[last].end))
}

// findNear looks, for each near whose terms occur, for windows that hold all of them. Occurrences are in the order of the text.
func (s *search) findNear() {
	for n, occurrences := range s.terms {
		def := s.in.near[n]
		count, missing, left := make([]int, def.terms), def.terms, 0
		for _, o := range occurrences {
			if count[o.term]++; count[o.term] == 1 {
				missing--
			}
			for missing == 0 {
				if o.last-occurrences[left].first <= def.within {
					s.found(def.lexicon, occurrences[left].first, max(o.last, occurrences[left].last))
				}
				gone := occurrences[left].term
				if count[gone]--; count[gone] == 0 {
					missing++
				}
				left++
			}
		}
	}
}

// hits makes one hit of each lexicon that was found, in the order of the lexicons, with its spans in order and overlaps merged.
func (s *search) hits() []event.Hit {
	var out []event.Hit
	for l, lex := range s.in.lexicons {
		spans := fold.Merge(s.spans[l])
		if len(spans) == 0 {
			continue
		}
		hit := event.Hit{Inspector: "lexicon", Name: lex.Name, Count: len(spans), Confidence: lex.Confidence, Version: s.in.version}
		if hit.Confidence == 0 {
			hit.Confidence = event.High
		}
		hit.Spans = spans[:min(len(spans), maxSpans)]
		out = append(out, hit)
	}
	return out
}
