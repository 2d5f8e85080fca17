package retention

import (
	"context"
	"errors"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// remains is what is left, as noise, of records whose keys are destroyed.
type remains struct {
	sealed  map[uint64][]int // sealed bytes, by sequence and index in the frame
	objects map[string]bool
}

func newRemains() *remains { return &remains{map[uint64][]int{}, map[string]bool{}} }

// destroy destroys the keys of a record, wherever it was recorded, and notes what remains of it. Where a key is missing with its whole root
// that is noted too, and the error is seal.ErrRootLost: a copy of the keys could bring it back, so the bytes that it opens have to go.
func (k *Keeper) destroy(ctx context.Context, r archive.Record, left *remains) error {
	places, err := k.places(ctx, r)
	if err != nil {
		return err
	}
	var lost error
	for _, p := range places {
		raw, err := k.record(ctx, p)
		if err != nil {
			return err
		}
		h, err := event.ParseHeader(raw.Header)
		if err != nil {
			return err
		}
		for _, o := range h.Objects {
			left.objects[o.Name] = true
		}
		if len(raw.Sealed) == 0 {
			continue
		}
		switch err := k.Eraser.Erase(raw.Sealed); {
		case errors.Is(err, seal.ErrRootLost):
			lost = err
		case err != nil && !errors.Is(err, seal.ErrErased):
			return err
		}
		left.sealed[p.Sequence] = append(left.sealed[p.Sequence], p.Record-1)
	}
	return lost
}

// places returns where a record stands in the journal.
func (k *Keeper) places(ctx context.Context, r archive.Record) ([]journal.Position, error) {
	if k.Places == nil {
		return []journal.Position{r.Position}, nil
	}
	return k.Places.Places(ctx, r.Event.ID)
}

// canErase refuses an erasure that would put a certificate on record and then destroy nothing: the sealed bytes stay, and a copy of the keys
// could open them.
func (k *Keeper) canErase(ctx context.Context, r archive.Record) error {
	checker, ok := k.Eraser.(Checker)
	if !ok {
		return nil
	}
	places, err := k.places(ctx, r)
	if err != nil {
		return err
	}
	for _, p := range places {
		raw, err := k.record(ctx, p)
		if err != nil {
			return err
		}
		if len(raw.Sealed) == 0 {
			continue
		}
		if err := checker.CanErase(raw.Sealed); errors.Is(err, seal.ErrRootLost) {
			return fmt.Errorf("%w; nothing was erased: restore keys/roots from its backup, then erase it, or let it be disposed of when its time is over: %w", archive.ErrKeyLost, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// record reads a record as it stands in the journal.
func (k *Keeper) record(ctx context.Context, p journal.Position) (journal.Record, error) {
	frame, err := k.Frames.Frame(ctx, p.Stream, p.Sequence)
	if err != nil {
		return journal.Record{}, err
	}
	if p.Record < 1 || p.Record > len(frame.Records) {
		return journal.Record{}, fmt.Errorf("frame %d has no record %d", p.Sequence, p.Record)
	}
	return frame.Records[p.Record-1], nil
}

// clear drops what remains: sealed bytes, then files that no record with content names. It can be done again at any time.
func (k *Keeper) clear(ctx context.Context, left *remains) error {
	if k.Detach != nil && len(left.sealed) > 0 {
		if err := k.Detach(ctx, left.sealed); err != nil {
			return fmt.Errorf("drop sealed bytes: %w", err)
		}
	}
	if k.Objects == nil || k.Places == nil || len(left.objects) == 0 {
		return nil
	}
	if err := k.Sync(ctx); err != nil {
		return err
	}
	for name := range left.objects {
		if err := k.clearObject(ctx, name); err != nil {
			return fmt.Errorf("delete object %s: %w", name, err)
		}
	}
	return nil
}

// clearObject deletes a file, unless some record that names it still has its sealed bytes: the message that a file was sent with may be held,
// or live longer than its upload.
func (k *Keeper) clearObject(ctx context.Context, name string) error {
	places, err := k.Places.Bringing(ctx, name)
	if err != nil {
		return err
	}
	for _, p := range places {
		if raw, err := k.record(ctx, p); err != nil || len(raw.Sealed) > 0 {
			return err
		}
	}
	return k.Objects.Delete(ctx, name)
}

// end says that all that a run's certificates say is done.
func (k *Keeper) end(ctx context.Context, by, run string) error {
	return k.Acts.Record(ctx, newAct(k.Clock, by, archive.ActDisposed, run, "the run is complete"))
}
