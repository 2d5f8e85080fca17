package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Answer is what one catalog, with the policy that names messengers by it, makes of a flow, a question or a program.
type Answer struct {
	App    string
	Action event.Action
}

// Counts say how a new catalog differs from the one it replaces, on the same traffic.
type Counts struct {
	Since   time.Time `json:"since"`
	Decided int64     `json:"decided"`       // by both
	Stopped int64     `json:"newly_stopped"` // by the new one only
	Passed  int64     `json:"newly_passed"`  // stopped by the old one only
	Renamed int64     `json:"renamed"`       // the verdict is the same, the messenger another
	Changes []Change  `json:"changes,omitempty"`
}

// Change is a difference and how often it was seen. What it was about is named by messenger only, not by host or name.
type Change struct {
	Kind  string `json:"kind"` // flow or question
	From  string `json:"from"` // "app verdict" by the old catalog, "-" for no messenger
	To    string `json:"to"`
	Count int64  `json:"count"`
}

// maxChanges bounds the differences that are told apart.
const maxChanges = 64

// Tally counts differences. It is safe for concurrent use.
type Tally struct {
	mu      sync.Mutex
	counts  Counts
	changes map[[3]string]int64
}

// NewTally returns a tally that begins now.
func NewTally(now time.Time) *Tally {
	return &Tally{counts: Counts{Since: now.UTC()}, changes: map[[3]string]int64{}}
}

// Add counts what the old and the new catalog make of one thing.
func (t *Tally) Add(kind string, before, after Answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Decided++
	was, is := before.Action.Stops(), after.Action.Stops()
	switch {
	case is && !was:
		t.counts.Stopped++
	case was && !is:
		t.counts.Passed++
	case before.App != after.App:
		t.counts.Renamed++
	default:
		return
	}
	key := [3]string{kind, before.String(), after.String()}
	if _, known := t.changes[key]; known || len(t.changes) < maxChanges {
		t.changes[key]++
	}
}

// String returns "app verdict".
func (a Answer) String() string { return cmp.Or(a.App, "-") + " " + string(a.Action) }

// Counts returns what was counted so far, the most frequent difference first.
func (t *Tally) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.counts
	for _, key := range slices.Collect(maps.Keys(t.changes)) {
		out.Changes = append(out.Changes, Change{key[0], key[1], key[2], t.changes[key]})
	}
	slices.SortFunc(out.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind+a.From+a.To, b.Kind+b.From+b.To))
	})
	return out
}

// Bounds say how much more a new catalog may stop before it is taken back.
type Bounds struct {
	Share  float64       // of all that was decided; default 0.02
	Least  int64         // below so many nothing is concluded; default 10
	Window time.Duration // after it came into force; default an hour
}

// Defaults returns the bounds with what is not set filled in.
func (b Bounds) Defaults() Bounds {
	return Bounds{cmp.Or(b.Share, 0.02), cmp.Or(b.Least, 10), cmp.Or(b.Window, time.Hour)}
}

// Exceeded says why the counts are beyond the bounds, or "".
func (b Bounds) Exceeded(c Counts) string {
	if c.Decided == 0 || c.Stopped < b.Least || float64(c.Stopped) <= b.Share*float64(c.Decided) {
		return ""
	}
	return fmt.Sprintf("it newly stops %d of %d flows and questions (%.1f %%), more than %.1f %%",
		c.Stopped, c.Decided, 100*float64(c.Stopped)/float64(c.Decided), 100*b.Share)
}
