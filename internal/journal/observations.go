package journal

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Observations takes what was seen and allowed or is unknown: it counts by kind and hands the counts to the journal in batches, as one act.
// It implements event.Observer and never blocks; what its bound does not hold is dropped and counted.
type Observations struct {
	record event.Recorder
	log    *slog.Logger
	every  time.Duration

	mu     sync.Mutex
	counts map[observed]int
	lost   int
}

// observed is what observations are counted by: nothing that a person typed or is called by.
type observed struct{ kind, connector, app string }

// maxObserved bounds how many different things are counted between two batches.
const maxObserved = 10_000

// ObservationsAct is the action of the record that a batch becomes.
const ObservationsAct = "observations.count"

// NewObservations returns an empty observer; Run must run for its counts to be recorded.
func NewObservations(r event.Recorder, every time.Duration, log *slog.Logger) *Observations {
	return &Observations{record: r, log: log, every: every, counts: map[observed]int{}}
}

// Observe implements event.Observer.
func (o *Observations) Observe(e *event.Event) {
	key := observed{kind: string(e.Kind), connector: e.Connector}
	switch {
	case e.Flow != nil:
		key.app = e.Flow.App
	case e.Question != nil:
		key.app = e.Question.App
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.counts[key]; !ok && len(o.counts) >= maxObserved {
		o.lost++
		return
	}
	o.counts[key]++
}

// Run records the counts in batches until the context ends, and then what is left.
func (o *Observations) Run(ctx context.Context) {
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			o.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			o.flush(last)
			return
		}
	}
}

func (o *Observations) flush(ctx context.Context) {
	o.mu.Lock()
	counts, lost := o.counts, o.lost
	o.counts, o.lost = map[observed]int{}, 0
	o.mu.Unlock()
	if len(counts) == 0 && lost == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b observed) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.connector, b.connector), cmp.Compare(a.app, b.app))
	})
	act := &event.ActDetail{Action: ObservationsAct}
	for _, k := range keys {
		act.Details = append(act.Details, event.Fact{Name: k.kind + " " + k.connector + " " + k.app, Value: strconv.Itoa(counts[k])})
	}
	if lost > 0 {
		act.Details = append(act.Details, event.Fact{Name: "dropped", Value: strconv.Itoa(lost)})
	}
	e := &event.Event{Kind: event.Act, Phase: ObservationsAct, Content: event.Content{Act: act}}
	if err := o.record.Record(ctx, e); err != nil {
		o.log.Error("record the counts of observations", "error", err)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.lost += lost
		for _, k := range keys { // kept for the next batch
			o.counts[k] += counts[k]
		}
	}
}
