package ledger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// RollPhase is the phase of the act that commits to the records of a day.
const RollPhase = "ledger.roll"

// rollGrace is how long after midnight UTC a day is closed; what comes later goes into a further roll.
const rollGrace = 2 * time.Minute

// futureLimit is how far an import's own time may lie after its receipt before the day of receipt counts.
const futureLimit = time.Hour

// DayOf returns the UTC day to which a record belongs: of gateway time for what was seen live, of source time for imports.
func DayOf(h event.Header) string {
	t := h.Received
	if h.Source == event.SourceImport && !h.Time.After(h.Received.Add(futureLimit)) || t.IsZero() {
		t = h.Time
	}
	return t.UTC().Format(time.DateOnly)
}

// Tally is what a roll commits to about one room or handle: how many records, and their Merkle root in the order of HMAC(roll key, id), which
// tells nobody without the key which records they are.
type Tally struct {
	Count int
	Root  string
}

// rollLeaf is one record in a tally.
type rollLeaf struct{ order, hash [sha256.Size]byte }

// rollDay gathers the records of one day.
type rollDay struct {
	key     []byte
	records int
	subject map[string][]rollLeaf // by "room ID" or "handle ID"
}

func newRollDay(key []byte) *rollDay { return &rollDay{key: key, subject: map[string][]rollLeaf{}} }

func (d *rollDay) add(h event.Header, raw []byte) {
	m := hmac.New(sha256.New, d.key)
	m.Write([]byte(h.ID))
	leaf := rollLeaf{hash: journal.LeafHash(raw)}
	m.Sum(leaf.order[:0])
	d.records++
	subjects := map[string]bool{}
	if h.Room != "" {
		subjects["room "+h.Room] = true
	}
	for _, id := range append([]string{h.From}, h.To...) {
		if id != "" {
			subjects["handle "+id] = true
		}
	}
	for s := range subjects {
		d.subject[s] = append(d.subject[s], leaf)
	}
}

// tallies returns the counts and roots, by subject.
func (d *rollDay) tallies() map[string]Tally {
	out := map[string]Tally{}
	for s, leaves := range d.subject {
		slices.SortFunc(leaves, func(a, b rollLeaf) int { return bytes.Compare(a.order[:], b.order[:]) })
		hashes := make([][]byte, len(leaves))
		for i := range leaves {
			hashes[i] = leaves[i].hash[:]
		}
		out[s] = Tally{len(leaves), journal.Root(hashes)}
	}
	return out
}

// TallyDay computes what a roll over these record headers says, for somebody who has the roll key and opened the roll.
func TallyDay(key []byte, headers [][]byte) (map[string]Tally, error) {
	d := newRollDay(key)
	for _, raw := range headers {
		h, err := event.ParseHeader(raw)
		if err != nil {
			return nil, fmt.Errorf("tally: %w", err)
		}
		d.add(h, raw)
	}
	return d.tallies(), nil
}

// rolled is how far one day was rolled.
type rolled struct {
	Number  int    `json:"number"`
	Through uint64 `json:"through"` // records in frames up to this one are in a roll
}

// rollState is the roller's memory. It can be made again from the journal; keeping it saves reading all of it at each start.
type rollState struct {
	From uint64            `json:"from"` // no frame before has a record that is in no roll
	Seen uint64            `json:"seen"` // frames up to this one were searched for rolls
	Days map[string]rolled `json:"days"`
}

// Roller commits, when a UTC day has closed, to the records of that day, and later to what came late.
type Roller struct {
	stream string
	r      journal.Reader
	rec    event.Recorder
	key    []byte
	path   string
	now    func() time.Time
	log    *slog.Logger
	state  rollState
}

// NewRoller returns a roller of the stream journal.Local that keeps its memory in dir/state/rolls.json.
func NewRoller(dir string, r journal.Reader, rec event.Recorder, key []byte, now func() time.Time, log *slog.Logger) (*Roller, error) {
	ro := &Roller{stream: journal.Local, r: r, rec: rec, key: key, path: rollsPath(dir), now: now, log: log}
	var err error
	ro.state, err = loadRolls(ro.path)
	return ro, err
}

func rollsPath(dir string) string { return filepath.Join(dir, "state", "rolls.json") }

func loadRolls(path string) (rollState, error) {
	state := rollState{From: 1}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		state.Days = map[string]rolled{}
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("day rolls: %w", err)
	}
	if err = json.Unmarshal(b, &state); err == nil && state.Days == nil {
		err = errors.New("it holds no days")
	}
	if err != nil {
		return state, fmt.Errorf("%s is damaged: %w; move it away: it is made anew from the journal", path, err)
	}
	return state, nil
}

// Run rolls what is closed, at once and after each midnight UTC, until ctx ends.
func (ro *Roller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if n, err := ro.Roll(ctx); err != nil && ctx.Err() == nil {
			ro.log.ErrorContext(ctx, "close day", "error", err)
			pause(ctx, time.Minute)
			continue
		} else if n > 0 {
			ro.log.InfoContext(ctx, "days closed", "rolls", n)
		}
		now := ro.now().UTC()
		pause(ctx, now.Truncate(24*time.Hour).Add(24*time.Hour+rollGrace).Sub(now))
	}
}

// Roll records a roll for each closed day that has records in no roll yet, and for yesterday even when it has none. It returns how many.
func (ro *Roller) Roll(ctx context.Context) (int, error) {
	streams, err := ro.r.Streams()
	if err != nil {
		return 0, fmt.Errorf("day rolls: %w", err)
	}
	last := streams[ro.stream]
	if err := ro.learn(ctx, last); err != nil {
		return 0, err
	}
	today := ro.now().Add(-rollGrace).UTC()
	open := today.Format(time.DateOnly)
	yesterday := today.AddDate(0, 0, -1).Format(time.DateOnly)
	days, from, err := ro.gather(ctx, last, open)
	if err != nil {
		return 0, err
	}
	if days[yesterday] == nil && ro.state.Days[yesterday].Number == 0 {
		days[yesterday] = newRollDay(ro.key)
	}
	for i, day := range slices.Sorted(maps.Keys(days)) {
		if err := ro.record(ctx, day, days[day], last); err != nil {
			return i, err
		}
	}
	ro.state.From = from
	return len(days), ro.save()
}

// learn takes up the rolls that are in the journal already: after a crash between a roll and the note of it, it is not made twice.
func (ro *Roller) learn(ctx context.Context, last uint64) error {
	for f, err := range ro.r.Frames(ctx, ro.stream, ro.state.Seen+1) {
		if err != nil {
			return fmt.Errorf("day rolls: %w", err)
		}
		if f.Head.Sequence > last {
			break
		}
		for _, r := range f.Records {
			if h, err := event.ParseHeader(r.Header); err == nil && h.Kind == event.Act && h.Phase == RollPhase {
				var n, records int
				var through uint64
				if _, err := fmt.Sscanf(h.Reason, rollReason, &n, &records, &through); err == nil {
					ro.state.Days[h.Time.UTC().Format(time.DateOnly)] = rolled{n, through}
				}
			}
		}
	}
	ro.state.Seen = last
	return nil
}

// rollReason is what the header of a roll says in the clear: its number for that day, how many records it commits to, and through which frame.
const rollReason = "roll=%d records=%d through=%d"

// gather collects the records of closed days that are in no roll, and finds the first frame with a record that stays open.
func (ro *Roller) gather(ctx context.Context, last uint64, open string) (map[string]*rollDay, uint64, error) {
	days, from := map[string]*rollDay{}, last+1
	for f, err := range ro.r.Frames(ctx, ro.stream, ro.state.From) {
		if err != nil {
			return nil, 0, fmt.Errorf("day rolls: %w", err)
		}
		if f.Head.Sequence > last {
			break
		}
		for _, r := range f.Records {
			h, err := event.ParseHeader(r.Header)
			if err != nil {
				return nil, 0, fmt.Errorf("day rolls: frame %d: %w", f.Head.Sequence, err)
			}
			day := DayOf(h)
			switch {
			case h.Kind == event.Act && h.Phase == RollPhase || f.Head.Sequence <= ro.state.Days[day].Through:
			case day >= open:
				from = min(from, f.Head.Sequence)
			default:
				if days[day] == nil {
					days[day] = newRollDay(ro.key)
				}
				days[day].add(h, r.Header)
			}
		}
	}
	return days, from, nil
}

// record makes the roll of one day a record.
func (ro *Roller) record(ctx context.Context, day string, d *rollDay, last uint64) error {
	start, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return fmt.Errorf("day rolls: %w", err)
	}
	n := ro.state.Days[day].Number + 1
	tallies := d.tallies()
	act := &event.ActDetail{Action: RollPhase, Object: day}
	for _, s := range slices.Sorted(maps.Keys(tallies)) {
		act.Details = append(act.Details, event.Fact{Name: s, Value: fmt.Sprintf("%d %s", tallies[s].Count, tallies[s].Root)})
	}
	e := &event.Event{ID: event.NewID(), Kind: event.Act, Phase: RollPhase, Time: start, Reason: fmt.Sprintf(rollReason, n, d.records, last),
		Content: event.Content{Act: act}}
	if err := ro.rec.Record(ctx, e); err != nil {
		return fmt.Errorf("day rolls: %w", err)
	}
	ro.state.Days[day] = rolled{n, last}
	return ro.save()
}

func (ro *Roller) save() error {
	b, err := json.Marshal(ro.state)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(ro.path), 0o700)
	}
	if err == nil {
		err = durable.Replace(ro.path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("day rolls: %w", err)
	}
	return nil
}
