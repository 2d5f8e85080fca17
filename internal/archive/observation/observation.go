// Package observation keeps what was seen and allowed, or is unknown: flows, questions and runs that are no records (law 9).
//
// Observe puts an event into a ring and returns; a full ring drops it and counts it. One goroutine takes from the ring, makes one entry of
// the same thing seen again within an hour, and hands a batch to the Store each second. Power loss costs the last second; nothing else does,
// and nothing waits for a disk. A machine may add only so many different things in an hour, so that one that floods takes nobody's room.
//
// After Config.Days an entry is folded into the counts of its hour, by kind, messenger and verdict: names, addresses and evidence are gone.
// Each folding is an act on record with its numbers. Entries of a held machine stay while the hold stands. When the Store is full the oldest
// hours are folded early, and the act says so.
package observation

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// Bounds.
const (
	ring       = 8192 // events that wait
	flushEvery = time.Second
	maxBatch   = 2048       // different entries of one flush
	hostHourly = 5000       // different entries of one machine in an hour
	allHourly  = 500_000    // of all machines
	maxEntries = 10_000_000 // in the store; about 5 GB
	foldEvery  = 10 * time.Minute
)

// Entry is one observation on its way to the store. Entries with the same Same within an hour are one.
type Entry struct {
	archive.Observed
	Same string
}

// Folded says what a folding did.
type Folded struct {
	From    time.Time // the first hour
	Entries int64     // that are gone
	Times   int64     // what they had counted
	Held    int64     // entries that stay because of holds
}

// Store is where observations are kept.
type Store interface {
	// Add keeps a batch, and returns how many of its entries were not there.
	Add(ctx context.Context, batch []Entry) (added int64, err error)
	// Count adds a batch to the hourly counts only.
	Count(ctx context.Context, batch []Entry) error
	// Fold makes hourly counts of all entries before a time, but of machines that are held. Nothing has changed unless confirm, which is
	// called with what was done when that is anything, returns nil.
	Fold(ctx context.Context, before time.Time, held func(event.Host) (bool, error), confirm func(Folded) error) (Folded, error)
	// Size returns how many entries there are, and the time of the oldest.
	Size(ctx context.Context) (entries int64, oldest time.Time, err error)
	// Oldest returns the time of the entry that n others are older than.
	Oldest(ctx context.Context, n int64) (time.Time, error)
}

// Holds says what must not be folded.
type Holds interface {
	// Sparing runs f, while which no hold is placed or released.
	Sparing(ctx context.Context, f func(held func(event.Host) (bool, error)) error) error
}

// Config of a Keeper.
type Config struct {
	Store Store
	Holds Holds
	Acts  event.Recorder
	Days  int                          // entries are kept; 0 keeps only counts
	Max   int64                        // entries in the store; 0 is ten million
	Known func(event.Host) (id string) // the id that records gave a machine, "" for none; nil: none has one
	Board *health.Board
	Clock clock.Clock
	Log   *slog.Logger
}

// Keeper takes observations. It implements event.Observer.
type Keeper struct {
	c     Config
	ring  chan *event.Event
	stats [reasons]atomic.Int64
	size  atomic.Int64

	// Of the goroutine that runs.
	batch map[string]*Entry
	quota quota
	said  [reasons]int64 // what the health item has said
	ill   error
	tried time.Time // to make room
	until time.Time // the health item says what was dropped until then
}

// Reasons to drop an observation.
const (
	full    = iota // the ring was full
	rate           // too many different things in a second
	flood          // the machine adds too many different things
	room           // the store is full of what is held
	refused        // the store could not write
	reasons
)

func reasonWords() [reasons]string {
	return [reasons]string{full: "ring-full", rate: "rate", flood: "host-quota", room: "store-full", refused: "store-error"}
}

// New returns a keeper; Run must run for anything to be kept.
func New(c Config) *Keeper {
	if c.Max <= 0 {
		c.Max = maxEntries
	}
	return &Keeper{c: c, ring: make(chan *event.Event, ring), batch: map[string]*Entry{}, quota: quota{seed: maphash.MakeSeed()}}
}

// Observe implements event.Observer. What the event points to must not be changed afterwards.
func (k *Keeper) Observe(e *event.Event) {
	select {
	case k.ring <- e:
	default:
		k.stats[full].Add(1)
	}
}

// Dropped returns how many observations were not kept, by reason, since the start.
func (k *Keeper) Dropped() map[string]int64 {
	out := map[string]int64{}
	for i, w := range reasonWords() {
		out[w] = k.stats[i].Load()
	}
	return out
}

// Size returns how many entries are in the store.
func (k *Keeper) Size() int64 { return k.size.Load() }

// Run keeps and folds until the context ends, and then keeps what is left in the ring.
func (k *Keeper) Run(ctx context.Context) {
	k.measure(ctx)
	k.fold(ctx)
	flush, fold := time.NewTicker(flushEvery), time.NewTicker(foldEvery)
	defer flush.Stop()
	defer fold.Stop()
	for {
		select {
		case e := <-k.ring:
			k.take(e)
		case <-flush.C:
			k.flush(ctx)
		case <-fold.C:
			k.fold(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			k.rest(last)
			return
		}
	}
}

// rest keeps what is in the ring.
func (k *Keeper) rest(ctx context.Context) {
	for {
		select {
		case e := <-k.ring:
			k.take(e)
		default:
			k.flush(ctx)
			return
		}
	}
}

// take adds one event to the batch.
func (k *Keeper) take(e *event.Event) {
	own := *e // whoever observed it may look at it still
	if own.Time.IsZero() {
		own.Time = k.c.Clock.Now()
	}
	o := archive.Observed{Event: &own, Last: own.Time, Times: 1}
	same := sameness(e)
	key := same + strconv.FormatInt(o.Hour().Unix(), 10)
	if known, ok := k.batch[key]; ok {
		known.add(o)
		return
	}
	switch {
	case len(k.batch) >= maxBatch:
		k.stats[rate].Add(1)
		return
	case k.c.Days > 0 && !k.quota.admits(o.Hour(), e.Host, same):
		k.stats[flood].Add(1)
		return
	}
	if k.c.Known != nil && own.Host.ID == "" {
		own.Host.ID = k.c.Known(own.Host)
	}
	k.batch[key] = &Entry{o, same}
}

// add makes one entry of two.
func (n *Entry) add(o archive.Observed) {
	n.Times++
	n.Last = later(n.Last, o.Last)
	if n.Event.Flow != nil && o.Event.Flow != nil {
		flow := *n.Event.Flow
		flow.Packets += o.Event.Flow.Packets
		flow.Bytes += o.Event.Flow.Bytes
		n.Event.Flow = &flow
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sameness is what two observations have in common that are the same thing again: who, what and where to, not from which port.
func sameness(e *event.Event) string {
	parts := []string{string(e.Kind), e.Connector, e.Host.Name, e.Host.Address, e.Host.Person, string(e.Verdict.Action), e.Verdict.Rule}
	switch {
	case e.Flow != nil:
		f := e.Flow
		parts = append(parts, f.Proto, f.Server, f.Name, f.App, f.Service, f.JA4)
	case e.Question != nil:
		parts = append(parts, e.Question.Name, e.Question.Type, e.Question.App)
	case e.Web != nil:
		parts = append(parts, e.Web.Method, e.Web.URL, e.Web.App)
	case e.Program != nil:
		parts = append(parts, e.Program.Path, e.Program.Inside, e.Program.SHA256, e.Program.App)
	}
	return strings.Join(parts, "\x00")
}

// quota bounds what each machine adds in an hour. It counts what is different: the same again costs nothing.
type quota struct {
	seed  maphash.Seed
	hour  time.Time
	seen  map[uint64]struct{}
	hosts map[uint64]int
}

func (q *quota) admits(hour time.Time, h event.Host, same string) bool {
	if hour.After(q.hour) { // late ones count for the hour that is
		q.hour, q.seen, q.hosts = hour, map[uint64]struct{}{}, map[uint64]int{}
	}
	what := maphash.String(q.seed, same)
	if _, ok := q.seen[what]; ok {
		return true
	}
	machine := maphash.String(q.seed, h.Name+"\x00"+h.Address)
	if q.hosts[machine] >= hostHourly || len(q.seen) >= allHourly {
		return false
	}
	q.seen[what] = struct{}{}
	q.hosts[machine]++
	return true
}
