package verify

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// maxNaming bounds how many records without partner are remembered; a store that differs in more is broken enough.
const maxNaming = 1 << 18

// place is where a record stands.
type place struct {
	stream   string
	sequence uint64
	position int
	id       string
}

// naming finds out which records became different: it pairs what the outside copy has with what the store has, by hash, over all frames,
// so that one removed record or frame is named once although everything after it has moved up.
type naming struct {
	result  *Result
	missing map[string]place // by hash: in the outside copy, not (yet) in the store
	extra   map[string]place // in the store, not (yet) in the outside copy
	moved   []Finding
	changed map[string]bool // streams in which a head differed with equal records
}

func newNaming(r *Result) *naming {
	return &naming{result: r, missing: map[string]place{}, extra: map[string]place{}, changed: map[string]bool{}}
}

// compare holds a frame of the store against the same frame of the outside copy.
func (n *naming) compare(want *bundleFrame, f *frame) {
	got := make([]string, len(f.hashes))
	for i, h := range f.hashes {
		got[i] = hex.EncodeToString(h[:])
	}
	if slices.Equal(got, want.Hashes) {
		n.headOnly(want, f)
		return
	}
	n.changed[want.Stream] = true
	n.order(want, got)
	have := map[string]int{}
	for _, h := range got {
		have[h]++
	}
	for i, h := range want.Hashes {
		if have[h]--; have[h] < 0 {
			n.gone(h, place{want.Stream, want.Sequence, i + 1, want.IDs[i]})
		}
	}
	for i, h := range got {
		if have[h] > 0 {
			have[h]--
			n.come(h, place{want.Stream, want.Sequence, i + 1, f.parsedHeaders[i].ID})
		}
	}
}

func (n *naming) headOnly(want *bundleFrame, f *frame) {
	if string(f.head) == want.Head || n.changed[want.Stream] {
		return
	}
	n.changed[want.Stream] = true
	n.result.add(Finding{Kind: FrameChanged, Stream: want.Stream, Sequence: want.Sequence, Detail: "the outside copy has another head over the same records"})
}

// order reports the first record that stands in another order than it did among those that both have.
func (n *naming) order(want *bundleFrame, got []string) {
	var a, b []string
	var at []int
	for i, h := range want.Hashes {
		if slices.Contains(got, h) {
			a, at = append(a, h), append(at, i)
		}
	}
	for _, h := range got {
		if slices.Contains(want.Hashes, h) {
			b = append(b, h)
		}
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n.move(place{want.Stream, want.Sequence, at[i] + 1, want.IDs[at[i]]}, place{stream: want.Stream, sequence: want.Sequence})
			return
		}
	}
}

func (n *naming) gone(h string, p place) {
	if to, ok := n.extra[h]; ok {
		delete(n.extra, h)
		n.move(p, to)
	} else if len(n.missing) < maxNaming {
		n.missing[h] = p
	}
}

func (n *naming) come(h string, p place) {
	if from, ok := n.missing[h]; ok {
		delete(n.missing, h)
		n.move(from, p)
	} else if len(n.extra) < maxNaming {
		n.extra[h] = p
	}
}

func (n *naming) move(from, to place) {
	if len(n.moved) < maxFindings {
		n.moved = append(n.moved, from.finding(RecordMoved, fmt.Sprintf("now stands elsewhere: stream %s, frame %d", to.stream, to.sequence)))
	}
}

func (p place) finding(kind, detail string) Finding {
	return Finding{Kind: kind, Record: p.id, Stream: p.stream, Sequence: p.sequence, Position: p.position, Detail: detail}
}

// finish names what found no partner. What moved is told only where nothing was removed or added: else moving up is all it did.
func (n *naming) finish() {
	byID := map[string]string{}
	for h, p := range n.extra {
		byID[p.id] = h
	}
	var out []Finding
	for _, p := range n.missing {
		h, same := byID[p.id]
		if same {
			delete(n.extra, h)
			out = append(out, p.finding(RecordChanged, "its header is not the one that the outside copy was made of"))
			continue
		}
		out = append(out, p.finding(RecordRemoved, "the outside copy has it, the store has not"))
	}
	for _, p := range n.extra {
		out = append(out, p.finding(RecordAdded, "the store has it where the outside copy has not"))
	}
	if len(out) == 0 {
		out = n.moved
	}
	slices.SortFunc(out, func(a, b Finding) int {
		if c := strings.Compare(a.Stream, b.Stream); c != 0 {
			return c
		}
		if a.Sequence != b.Sequence {
			return int(int64(a.Sequence) - int64(b.Sequence))
		}
		return a.Position - b.Position
	})
	for _, f := range out {
		n.result.add(f)
	}
}
