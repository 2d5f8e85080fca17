package pipeline

import (
	"context"
	"slices"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
)

// SideBySide runs inspectors at the same time. One that does not answer by the deadline is marked as not having inspected; it is not waited
// for, and what it says later is not heard.
type SideBySide []inspect.Inspector

type answer struct {
	index  int
	result inspect.Result
}

// Inspect looks into item with all inspectors. Hits come in the order of the inspectors, whoever answered first.
func (s SideBySide) Inspect(ctx context.Context, item *inspect.Item) inspect.Result {
	answers := make(chan answer, len(s))
	for i, in := range s {
		go func() { answers <- answer{i, look(ctx, in, item)} }()
	}
	results := make([]*inspect.Result, len(s))
	for range s {
		select {
		case a := <-answers:
			results[a.index] = &a.result
			continue
		case <-ctx.Done():
		}
		break
	}
	var all inspect.Result
	for i, r := range results {
		if r == nil {
			r = &inspect.Result{NotInspected: []event.NotInspected{{Inspector: s[i].Name(), Reason: event.ReasonTimeout, Version: s[i].Version()}}}
		}
		all.Hits = append(all.Hits, r.Hits...)
		all.NotInspected = append(all.NotInspected, r.NotInspected...)
		if all.Type == "" {
			all.Type = r.Type
		}
	}
	all.Hits = slices.Clip(all.Hits)
	return all
}

// look runs one inspector. One that crashes has not inspected.
func look(ctx context.Context, in inspect.Inspector, item *inspect.Item) (r inspect.Result) {
	defer func() {
		if recover() != nil {
			r = inspect.Result{NotInspected: []event.NotInspected{{Inspector: in.Name(), Reason: event.ReasonUnparseable, Version: in.Version()}}}
		}
	}()
	return in.Inspect(ctx, item)
}
