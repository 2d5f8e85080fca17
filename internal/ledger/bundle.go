package ledger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Bounds of a bundle: what is more goes into further ones under the same checkpoint.
const (
	maxBundleFrames  = 2048
	maxBundleRecords = 50_000
)

// BundleType is what a bundle says it is.
const BundleType = "chaperone-checkpoint"

// Bundle is a signed checkpoint and the record hashes of the frames [From, To) of the log.
type Bundle struct {
	Version    int           `json:"v"`
	Type       string        `json:"type"`
	Origin     string        `json:"origin"`
	Key        string        `json:"key"` // verifier key
	Checkpoint string        `json:"checkpoint"`
	From       uint64        `json:"from"`
	To         uint64        `json:"to"`
	Frames     []BundleFrame `json:"frames"`

	more bool // the checkpoint covers further frames, which did not fit
}

// BundleFrame is one frame: its head, which is the leaf, and the ids and leaf hashes of its records in order. It names nobody.
type BundleFrame struct {
	Stream   string   `json:"stream"`
	Sequence uint64   `json:"seq"`
	Head     string   `json:"head"`
	IDs      []string `json:"ids"`
	Hashes   []string `json:"hashes"`
}

// Encode returns the bundle as one line of JSON.
func (b *Bundle) Encode() ([]byte, error) {
	out, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	return append(out, '\n'), nil
}

// bundle makes the bundle of the frames from a leaf on, under the newest checkpoint.
func (l *Ledger) bundle(ctx context.Context, r journal.Reader, from uint64) (*Bundle, error) {
	raw, size, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if from > size {
		return nil, errors.New("bundle: the log has fewer leaves than were acknowledged outside: it was replaced by an older copy")
	}
	b := &Bundle{Version: 1, Type: BundleType, Origin: l.key.Origin(), Key: l.key.verifier, Checkpoint: string(raw), From: from, To: from, Frames: []BundleFrame{}}
	src := &frameSource{r: r, ctx: ctx}
	defer src.close()
	records := 0
	for b.To < size && len(b.Frames) < maxBundleFrames && records < maxBundleRecords {
		leaves, err := l.leaves(ctx, b.To/layout.EntryBundleWidth, size)
		if err != nil {
			return nil, err
		}
		for _, leaf := range leaves[b.To%layout.EntryBundleWidth:] {
			f, err := src.frame(leaf)
			if err != nil {
				return nil, err
			}
			b.Frames = append(b.Frames, *f)
			b.To++
			if records += len(f.IDs); len(b.Frames) == maxBundleFrames || records >= maxBundleRecords {
				break
			}
		}
	}
	b.more = b.To < size
	return b, nil
}

// frameSource reads the journal's frames in the order of the leaves; runs of one stream are read in one go.
type frameSource struct {
	ctx    context.Context
	r      journal.Reader
	stream string
	next   uint64
	pull   func() (journal.Frame, error, bool)
	stop   func()
}

func (s *frameSource) close() {
	if s.stop != nil {
		s.stop()
	}
}

func (s *frameSource) frame(leaf []byte) (*BundleFrame, error) {
	h, err := parseLeaf(leaf)
	if err != nil {
		return nil, err
	}
	if s.pull == nil || s.stream != h.Stream || s.next != h.Sequence {
		s.close()
		s.pull, s.stop = iter.Pull2(s.r.Frames(s.ctx, h.Stream, h.Sequence))
		s.stream, s.next = h.Stream, h.Sequence
	}
	f, err, ok := s.pull()
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if !ok || string(f.HeadRaw) != string(leaf) {
		return nil, fmt.Errorf("%w: stream %s, frame %d", ErrDiverged, h.Stream, h.Sequence)
	}
	s.next++
	out := &BundleFrame{Stream: h.Stream, Sequence: h.Sequence, Head: string(leaf), IDs: []string{}, Hashes: []string{}}
	for _, rec := range f.Records {
		head, err := event.ParseHeader(rec.Header)
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		out.IDs = append(out.IDs, string(head.ID))
		out.Hashes = append(out.Hashes, hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(rec.Header)))
	}
	return out, nil
}
