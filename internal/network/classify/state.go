package classify

import (
	"slices"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// state is what is known of one flow. A hundred thousand of these are kept: what most flows do not have, or have in common, is elsewhere.
type state struct {
	*verdict        // unnamed until there is one
	said     *said  // what it showed of itself
	name     string // own host name, or the one that DNS tied to the address
	ownName  bool   // the flow itself carries a host name
	revised  bool
	reported bool
}

// verdict is the app of a flow and what speaks for it.
type verdict struct {
	app        string
	service    string
	confidence event.Confidence
	decided    int64 // packets when the app was named
	evidence   []event.Evidence
	strongest  [kinds]uint16 // of each kind of evidence, in thousandths
	rank       rank
	common     bool // several flows have it: it is changed in a copy
}

// opinion is what makes a verdict that rests on one fact: flows of one service often have the same.
type opinion struct {
	app, service string
	decided      int64
	rank         rank
	evidence     event.Evidence
}

// share gives s the copy of its verdict that others have. It is bounded as what is shared else.
func (c *Classifier) share(s *state) {
	v := s.verdict
	if v.common || len(v.evidence) != 1 {
		return
	}
	key := opinion{v.app, v.service, v.decided, v.rank, v.evidence[0]}
	if have := c.verdicts[key]; have != nil {
		s.verdict = have
		return
	}
	if len(c.verdicts) >= maxShared {
		clear(c.verdicts)
	}
	v.common, c.verdicts[key] = true, v
}

// change makes s's verdict its own.
func (s *state) change() {
	if s.common {
		own := *s.verdict
		own.common, own.evidence = false, slices.Clone(s.evidence)
		s.verdict = &own
	}
}

// said is what a flow showed of itself. It is shared by the flows that showed the same, and never changed.
type said struct {
	decoder   string // of the first fact
	shown     string // what it says in a word, where that may be evidence
	ja4, alpn string
	early     string // the app that was known before the flow said anything
	ech       bool   // it offers an encrypted client hello
}

// What flows begin with. Nobody writes to these.
var (
	unnamed     = &verdict{}
	silent      = &said{}
	likeAnother = &said{decoder: candidateFact}
)

// shared keeps one copy of what many have. It is bounded: when it is full it begins anew, and what it gave stays good.
type shared[T comparable] struct{ copies map[T]*T }

const maxShared = 1 << 10

func newShared[T comparable]() shared[T] { return shared[T]{map[T]*T{}} }

// get returns the copy of v.
func (s *shared[T]) get(v T) *T {
	if p := s.copies[v]; p != nil {
		return p
	}
	if len(s.copies) >= maxShared {
		clear(s.copies)
	}
	p := new(T)
	*p = v
	s.copies[v] = p
	return p
}

// What the State of a flow says: where its own state is, which nothing has of which there is nothing to know (a flood is of such), nor what
// only could be of classic Skype by its first datagram, as one of ten thousand others could.
const (
	stateNone uint32 = iota
	stateCandidate
	stateFirst
)

const candidateFact = "skype-candidate"

// own returns the state that f has, or nil.
func (c *Classifier) own(f *flow.Flow) *state {
	if f.State < stateFirst {
		return nil
	}
	return c.states.at(f.State - stateFirst)
}

// stateOf returns what is known of f, in a state of its own.
func (c *Classifier) stateOf(f *flow.Flow) *state {
	if s := c.own(f); s != nil {
		return s
	}
	begin := early(f)
	n, s := c.states.take()
	*s, f.State = begin, stateFirst+n
	return s
}

// release forgets what is known of f.
func (c *Classifier) release(f *flow.Flow) {
	if f.State >= stateFirst {
		c.states.put(f.State - stateFirst)
	}
	f.State = stateNone
}

// slab keeps things by numbers from 0 on, side by side.
type slab[T any] struct {
	chunks [][]T
	free   []uint32
}

const chunkSize = 512

func (s *slab[T]) at(n uint32) *T { return &s.chunks[n/chunkSize][n%chunkSize] }

// take returns the number and the place of an empty one.
func (s *slab[T]) take() (uint32, *T) {
	if len(s.free) == 0 {
		first := uint32(len(s.chunks) * chunkSize)
		s.chunks = append(s.chunks, make([]T, chunkSize))
		for n := uint32(chunkSize); n > 0; n-- {
			s.free = append(s.free, first+n-1)
		}
	}
	last := len(s.free) - 1
	n := s.free[last]
	s.free = s.free[:last]
	return n, s.at(n)
}

func (s *slab[T]) put(n uint32) {
	var empty T
	*s.at(n) = empty
	s.free = append(s.free, n)
}

// early returns what a flow that has no state of its own begins with.
func early(f *flow.Flow) state {
	if f.State == stateCandidate {
		return state{verdict: unnamed, said: likeAnother}
	}
	return state{verdict: unnamed, said: silent}
}

// look returns what is known of f, or a blank state that note makes its own when it has learned something.
func (c *Classifier) look(f *flow.Flow) *state {
	if s := c.own(f); s != nil {
		return s
	}
	c.blank = early(f)
	return &c.blank
}

func (c *Classifier) note(f *flow.Flow, s *state) {
	c.share(s)
	if s == &c.blank && (s.app != "" || s.name != "") {
		*c.stateOf(f) = *s
	}
}

// hear notes what the fact shows of the flow; own is the name in it.
func (c *Classifier) hear(s *state, fact *decode.Fact, own string) {
	now := *s.said
	if now.decoder == "" || now.decoder == candidateFact { // which is less than any other
		now.decoder = fact.Decoder
		if own == "" && fact.Decoder != "dns" && fact.Decoder != candidateFact {
			now.shown = inAWord(fact)
		}
	}
	if v := fact.Get("ja4"); v != "" {
		now.ja4, now.alpn, now.ech = v, fact.Get("alpn"), offersECH(fact)
	}
	if now != *s.said {
		s.said = c.said.get(now)
	}
}

// inAWord returns the first value of a fact.
func inAWord(fact *decode.Fact) string {
	if len(fact.Attrs) == 0 {
		return ""
	}
	said := fact.Attrs[0].Key + " " + fact.Attrs[0].Value
	if _, outer := ownName(fact); outer != "" {
		return "outer " + said
	}
	return said
}
