package observation

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// Item is the name of the health item.
const Item = "observations"

// flush hands the batch to the store, and makes room when it is full.
func (k *Keeper) flush(ctx context.Context) {
	defer k.report()
	if len(k.batch) == 0 {
		return
	}
	batch := make([]Entry, 0, len(k.batch))
	for _, e := range k.batch {
		batch = append(batch, *e)
	}
	clear(k.batch)
	if k.c.Days == 0 {
		k.failed(len(batch), k.c.Store.Count(ctx, batch))
		return
	}
	if k.size.Load() >= k.c.Max && !k.makeRoom(ctx) {
		k.stats[room].Add(int64(len(batch)))
		k.failed(0, k.c.Store.Count(ctx, batch))
		return
	}
	added, err := k.c.Store.Add(ctx, batch)
	k.failed(len(batch), err)
	k.size.Add(added)
}

// failed notes that the store did not take n entries.
func (k *Keeper) failed(n int, err error) {
	if err != nil {
		k.stats[refused].Add(int64(n))
		k.c.Log.Error("keep observations", "error", err)
	}
	k.ill = err
}

// fold folds what is old.
func (k *Keeper) fold(ctx context.Context) {
	now := k.c.Clock.Now()
	before := now.Add(-time.Duration(k.c.Days) * 24 * time.Hour).Truncate(time.Hour)
	if k.c.Days == 0 {
		before = now.Add(24 * time.Hour) // whatever was kept under another configuration
	}
	if err := k.foldBefore(ctx, before, "age"); err != nil && ctx.Err() == nil {
		k.c.Log.Error("fold observations", "error", err)
		k.ill = err
	}
	k.report()
}

// tryEvery is the pause between attempts to make room, when holds keep everything.
const tryEvery = time.Minute

// makeRoom folds the oldest tenth of a full store early, in whole hours, and reports whether that made room.
func (k *Keeper) makeRoom(ctx context.Context) bool {
	if now := k.c.Clock.Now(); now.Sub(k.tried) < tryEvery {
		return false
	} else {
		k.tried = now
	}
	t, err := k.c.Store.Oldest(ctx, k.c.Max/10)
	if err == nil {
		err = k.foldBefore(ctx, t.Truncate(time.Hour).Add(time.Hour), "full")
	}
	if err != nil && ctx.Err() == nil {
		k.c.Log.Error("fold observations", "error", err)
	}
	return k.size.Load() < k.c.Max
}

func (k *Keeper) foldBefore(ctx context.Context, before time.Time, reason string) error {
	fold := func(held func(event.Host) (bool, error)) error {
		_, err := k.c.Store.Fold(ctx, before, held, func(f Folded) error { return k.c.Acts.Record(ctx, k.act(f, before, reason)) })
		return err
	}
	err := k.c.Holds.Sparing(ctx, fold)
	k.measure(ctx)
	return err
}

// act says in numbers what a folding does. It is durable before anything is gone; after a crash between the two it comes twice.
func (k *Keeper) act(f Folded, before time.Time, reason string) *event.Event {
	now := k.c.Clock.Now()
	detail := &event.ActDetail{Action: archive.ActFold, Object: "before " + before.UTC().Format(time.RFC3339), Details: []event.Fact{
		{Name: "reason", Value: reason}, {Name: "days", Value: strconv.Itoa(k.c.Days)}, {Name: "from", Value: f.From.UTC().Format(time.RFC3339)},
		{Name: "entries", Value: strconv.FormatInt(f.Entries, 10)}, {Name: "times", Value: strconv.FormatInt(f.Times, 10)},
		{Name: "held", Value: strconv.FormatInt(f.Held, 10)}}}
	return &event.Event{ID: event.NewID(), Kind: event.Act, Phase: archive.ActFold, Time: now, Received: now, Connector: Item, Content: event.Content{Act: detail}}
}

func (k *Keeper) measure(ctx context.Context) {
	if n, _, err := k.c.Store.Size(ctx); err == nil {
		k.size.Store(n)
	}
}

// sayDropped is how long the health item speaks of what was dropped.
const sayDropped = 10 * time.Minute

// report keeps the health item true.
func (k *Keeper) report() {
	if k.c.Board == nil {
		return
	}
	now, words := k.c.Clock.Now(), ""
	for i, w := range reasonWords() {
		if n := k.stats[i].Load(); n > 0 {
			words += fmt.Sprintf(", %s %d", w, n)
			if n > k.said[i] {
				k.said[i], k.until = n, now.Add(sayDropped)
			}
		}
	}
	switch {
	case k.ill != nil:
		k.c.Board.Set(Item, health.Degraded, "observations are not kept: "+k.ill.Error(), "Records are made all the same. See the disk.")
	case now.Before(k.until):
		k.c.Board.Set(Item, health.Degraded, "some observations were counted and not kept, since the start"+words,
			"Nothing of the record is missing. host-quota: one machine asks for very many different things. ring-full, rate: more comes than is kept. store-full: holds keep everything.")
	case k.c.Days == 0:
		k.c.Board.Set(Item, health.OK, "only hourly counts are kept (observations.days is 0)", "")
	default:
		k.c.Board.Set(Item, health.OK, fmt.Sprintf("%d are kept, each for %d days", k.size.Load(), k.c.Days), "")
	}
}
