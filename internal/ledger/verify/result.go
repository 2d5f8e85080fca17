package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// The three answers.
const (
	Proven     = "PROVEN"
	Consistent = "CONSISTENT, NOT PROVEN"
	Broken     = "BROKEN"
)

// The kinds of findings, the most telling first.
const (
	RecordRemoved     = "record-removed"      // the outside copy has it, the store has not
	RecordChanged     = "record-changed"      // another header under the same id
	RecordAdded       = "record-added"        // the store has it within frames whose outside copy has not
	RecordMoved       = "record-moved"        // another place than in the outside copy
	ContentChanged    = "content-changed"     // sealed bytes differ from the header's digest
	ContentMissing    = "content-missing"     // sealed bytes gone without a certificate
	ContentKeyMissing = "content-key-missing" // the key of sealed bytes is gone from keys/roots
	ObjectChanged     = "object-changed"      // a sealed file differs from the header's digest
	ObjectMissing     = "object-missing"      // a sealed file is gone without a certificate
	RollDiffers       = "roll-differs"        // a day roll counts other records than the store has
	FrameMissing      = "frame-missing"       // the ledger or the outside copy has a frame that the journal has not
	FrameChanged      = "frame-changed"       // a frame's head differs from the outside copy though its records do not
	FrameDamaged      = "frame-damaged"       // a frame cannot be read, or disagrees with itself
	ChainBroken       = "chain-broken"        // a frame does not follow its stream's previous one
	LedgerDiffers     = "ledger-differs"      // a frame is not what the ledger holds
	LedgerDamaged     = "ledger-damaged"      // the ledger's files disagree with each other or with its checkpoint
	LedgerTruncated   = "ledger-truncated"    // fewer leaves than an outside checkpoint has
	CheckpointInvalid = "checkpoint-invalid"  // the store's own checkpoint is not signed by the ledger's key
	CheckpointDiffers = "checkpoint-differs"  // the frames under an outside checkpoint are not those it was made of
)

// maxFindings bounds a result; what is beyond is counted.
const maxFindings = 200

// Finding is one thing that is not as it must be. Position counts records within the frame from 1; 0 means the frame as a whole.
type Finding struct {
	Kind     string `json:"kind"`
	Record   string `json:"record,omitempty"`
	Stream   string `json:"stream,omitempty"`
	Sequence uint64 `json:"frame,omitempty"`
	Position int    `json:"position,omitempty"`
	Detail   string `json:"detail"`
}

// Outside is what became of one checkpoint from outside.
type Outside struct {
	Source  string    `json:"source"`
	Size    uint64    `json:"size"`
	Time    time.Time `json:"time,omitzero"`
	Matches bool      `json:"matches"`
	Hashes  bool      `json:"hashes"` // record hashes came with it
}

// Result is the answer and what it rests on. Field names are API.
type Result struct {
	Verdict     string    `json:"verdict"`
	Words       string    `json:"words"`
	Since       time.Time `json:"since,omitzero"`
	Path        string    `json:"path"`
	Records     uint64    `json:"records"`
	Frames      uint64    `json:"frames"`
	Streams     int       `json:"streams"`
	Ledger      uint64    `json:"ledger"`      // leaves under the store's own checkpoint
	Uncommitted uint64    `json:"uncommitted"` // frames that no leaf holds yet
	Disposed    uint64    `json:"disposed"`
	Objects     uint64    `json:"objects"`
	Rolls       uint64    `json:"rolls"`
	Checkpoints int       `json:"checkpoints"`       // from outside, compared
	Outside     []Outside `json:"outside,omitempty"` // the newest of them, and those that differ
	Findings    []Finding `json:"findings,omitempty"`
	More        uint64    `json:"more_findings,omitempty"`
	Notes       []string  `json:"notes,omitempty"`
}

func (r *Result) add(f Finding) {
	if len(r.Findings) >= maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}

func (r *Result) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); len(r.Notes) < maxFindings && !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

func (r *Result) conclude(o *outside) {
	newest := (*checkpoint)(nil)
	for _, c := range o.list {
		if c.matches && (newest == nil || c.size >= newest.size) {
			newest = c
		}
	}
	switch {
	case len(r.Findings) > 0:
		r.Verdict, r.Words = Broken, Broken
		slices.SortStableFunc(r.Findings, func(a, b Finding) int { return rank(a.Kind) - rank(b.Kind) })
	case newest != nil:
		r.Verdict, r.Since = Proven, newest.time
		r.Words = Proven + " since " + timeOf(newest.time)
	default:
		r.Verdict, r.Words = Consistent, Consistent
	}
}

func rank(kind string) int {
	order := []string{RecordRemoved, RecordChanged, RecordAdded, RecordMoved, ContentChanged, ContentMissing, ContentKeyMissing, ObjectChanged, ObjectMissing, RollDiffers,
		FrameMissing, FrameChanged, FrameDamaged, ChainBroken}
	if i := slices.Index(order, kind); i >= 0 {
		return i
	}
	return len(order)
}

// WriteJSON writes the result as one line of JSON.
func (r *Result) WriteJSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(struct {
		Type string `json:"type"`
		*Result
	}{"verify", r})
}

// WriteText writes the result for people, the answer first.
func (r *Result) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s", r.Words)
	p.line("  %d records in %d frames of %d streams; the ledger holds %d frames, %d are in its open window; %d disposed, %d objects",
		r.Records, r.Frames, r.Streams, r.Ledger, r.Uncommitted, r.Disposed, r.Objects)
	if r.Checkpoints > 1 {
		p.line("  %d outside checkpoints were compared", r.Checkpoints)
	}
	for _, o := range r.Outside {
		answer := "differs"
		if o.Matches {
			answer = "agrees"
		}
		p.line("  outside checkpoint of %s, %d frames: %s (%s)", timeOf(o.Time), o.Size, answer, o.Source)
	}
	for _, f := range r.Findings {
		p.line("  %s", f)
	}
	if r.More > 0 {
		p.line("  and %d findings more", r.More)
	}
	for _, n := range r.Notes {
		p.line("  note: %s", n)
	}
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// String says a finding in one line.
func (f Finding) String() string {
	s := f.Kind
	if f.Record != "" {
		s += ": record " + f.Record
	}
	if f.Stream != "" {
		s += fmt.Sprintf(", stream %s, frame %d", f.Stream, f.Sequence)
	}
	if f.Position > 0 {
		s += fmt.Sprintf(", position %d", f.Position)
	}
	return s + ": " + f.Detail
}
