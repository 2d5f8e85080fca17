package retention

import (
	"context"
	"errors"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// perBatch bounds the records that are certified and destroyed at once.
const perBatch = 500

// Disposal is what a run of Dispose did, or would do.
type Disposal struct {
	Run      event.ID       `json:"run"`                 // names the run in its certificates
	Due      int            `json:"due"`                 // records whose time is over
	Held     map[string]int `json:"held"`                // of these, by matter: kept
	ByClass  map[string]int `json:"by_class"`            // due and not held
	Disposed int            `json:"disposed"`            // 0 in a dry run
	KeysLost int            `json:"keys_lost,omitempty"` // of these, whose keys were missing: their sealed bytes are dropped
	Unread   int            `json:"unread,omitempty"`    // left alone: their keys are missing, and what they say decides about class and holds
}

// Dispose destroys the content of records whose retention has run out and that no hold covers. With dry nothing is destroyed and the
// answer says what would be. Each record has a certificate of its own, an act whose header refers to it (so that who verifies without a key
// knows why its content is gone), durable before it is destroyed. When the context ends, what has a certificate is destroyed, and the rest
// waits for the next run.
func (k *Keeper) Dispose(ctx context.Context, by, reason string, dry bool) (Disposal, error) {
	d := Disposal{Run: event.NewID(), Held: map[string]int{}, ByClass: map[string]int{}}
	if err := checkWords(map[string]string{"account": by, "reason": reason}); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.Sync(ctx); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	var due []archive.Record
	left := newRemains()
	flush := func() error {
		err := k.certify(ctx, by, reason, due, dry, &d, left)
		due = due[:0]
		return err
	}
	for r, err := range k.Records.Select(ctx, archive.Filter{Kinds: disposable(), OldestFirst: true}, "") {
		if err != nil {
			return d, fmt.Errorf("dispose: %w", err)
		}
		if r.KeyLost {
			d.Unread++
			continue
		}
		class, ok := k.ClassOf(r.Event)
		if r.Erased || !ok || !k.over(r.Record, class) {
			continue
		}
		d.Due++
		if due = append(due, r.Record); len(due) == perBatch {
			if err := flush(); err != nil {
				return d, fmt.Errorf("dispose: %w", err)
			}
		}
	}
	if err := flush(); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	if dry || d.Disposed == 0 {
		return d, nil
	}
	if err := k.clear(ctx, left); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	if err := k.end(ctx, by, string(d.Run)); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	return d, k.Sync(ctx)
}

// disposable are all kinds but acts, which are kept for good.
func disposable() []event.Kind {
	return []event.Kind{event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave, event.RoomChange,
		event.Delivery, event.Call, event.FlowSeen, event.DNSQuery, event.WebRequest, event.ProgramRun, event.FindingHit, event.MediaIn,
		event.VerdictSet, event.Gap}
}

// certify leaves out what is held, makes the certificates of the rest durable, and destroys it. No hold can be placed meanwhile.
func (k *Keeper) certify(ctx context.Context, by, reason string, due []archive.Record, dry bool, d *Disposal, left *remains) error {
	k.Holds.mu.RLock()
	defer k.Holds.mu.RUnlock()
	var free []archive.Record
	var certificates []*event.Event
	for _, r := range due {
		matter, held, err := k.Holds.held(ctx, r.Event)
		if err != nil {
			return err
		}
		if held {
			d.Held[matter]++
			continue
		}
		class, _ := k.ClassOf(r.Event)
		d.ByClass[class.ID]++
		free = append(free, r)
		act := newAct(k.Clock, by, archive.ActDispose, string(d.Run), reason)
		act.Refers = r.Event.ID
		act.Act.Details = []event.Fact{{Name: archive.DetailRecord, Value: string(r.Event.ID)}, {Name: "class", Value: class.ID}}
		certificates = append(certificates, act)
	}
	if dry || len(free) == 0 {
		return nil
	}
	if err := k.Acts.Record(ctx, certificates...); err != nil {
		return err
	}
	for _, r := range free {
		err := k.destroy(context.WithoutCancel(ctx), r, left)
		if errors.Is(err, seal.ErrRootLost) && k.Detach != nil {
			d.KeysLost++
			err = nil
		}
		if err != nil {
			return err
		}
		d.Disposed++
	}
	return nil
}
