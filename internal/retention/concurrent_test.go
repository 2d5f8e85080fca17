package retention_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

// TestHoldAgainstDisposal places holds while a disposal runs: of each person, whatever was readable when Place returned stays readable.
func TestHoldAgainstDisposal(t *testing.T) {
	o := newOffice(t)
	records := map[string][]event.ID{}
	for i := range 12 {
		who := fmt.Sprint("p", i%4)
		records[who] = append(records[who], o.write(who, "desk"))
	}
	o.now = o.now.AddDate(1, 0, 0)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := o.keeper.Dispose(context.Background(), "carl", "schedule", false); err != nil {
			t.Error(err)
		}
	})
	left := make([]map[event.ID]bool, 4)
	for i := range 4 {
		wg.Go(func() {
			who := fmt.Sprint("p", i)
			if err := o.holds.Place(context.Background(), "dora", "m-"+who, "r", person(who)); err != nil {
				t.Error(err)
				return
			}
			if err := o.projector.Sync(context.Background()); err != nil {
				t.Error(err)
				return
			}
			left[i] = map[event.ID]bool{}
			for _, id := range records[who] {
				r, err := o.store.Record(context.Background(), id)
				if err != nil {
					t.Error(err)
					return
				}
				left[i][id] = !r.Erased
			}
		})
	}
	wg.Wait()
	if _, err := o.keeper.Dispose(t.Context(), "carl", "schedule", false); err != nil {
		t.Fatal(err)
	}
	for i := range left {
		for id, was := range left[i] {
			if was && !o.readable(id) {
				t.Errorf("p%d: %s was readable when the hold was in force, and is gone", i, id)
			}
		}
	}
}
