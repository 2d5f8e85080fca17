package retention

import (
	"context"
	"fmt"
	"strconv"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// perCertificate bounds the records of one certificate.
const perCertificate = 500

// Disposal is what a run of Dispose did, or would do.
type Disposal struct {
	Due          int            `json:"due"`      // records whose time is over
	Held         map[string]int `json:"held"`     // of these, by matter: kept
	Disposed     int            `json:"disposed"` // 0 in a dry run
	ByClass      map[string]int `json:"by_class"` // due and not held
	Certificates []event.ID     `json:"certificates"`
}

// Dispose destroys the content of records whose retention has run out and that no hold covers. With dry nothing is destroyed and the
// answer says what would be. Each certificate is an act that names its records and is durable before they are destroyed. When the context
// ends, what has a certificate is destroyed, and the rest waits for the next run.
func (k *Keeper) Dispose(ctx context.Context, by, reason string, dry bool) (Disposal, error) {
	d := Disposal{Held: map[string]int{}, ByClass: map[string]int{}}
	if err := checkWords(map[string]string{"account": by, "reason": reason}); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.Sync(ctx); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	var due []archive.Record
	gone := map[uint64][]int{}
	flush := func() error {
		err := k.certify(ctx, by, reason, due, dry, &d, gone)
		due = due[:0]
		return err
	}
	for r, err := range k.Records.Select(ctx, archive.Filter{Kinds: disposable(), OldestFirst: true}, "") {
		if err != nil {
			return d, fmt.Errorf("dispose: %w", err)
		}
		class, ok := k.ClassOf(r.Event)
		if r.Erased || !ok || !k.over(r.Record, class) {
			continue
		}
		d.Due++
		if due = append(due, r.Record); len(due) == perCertificate {
			if err := flush(); err != nil {
				return d, fmt.Errorf("dispose: %w", err)
			}
		}
	}
	if err := flush(); err != nil {
		return d, fmt.Errorf("dispose: %w", err)
	}
	if dry {
		return d, nil
	}
	if k.Detach != nil && len(gone) > 0 {
		if err := k.Detach(ctx, gone); err != nil {
			return d, fmt.Errorf("dispose: drop sealed bytes: %w", err)
		}
	}
	return d, k.Sync(ctx)
}

// disposable are all kinds but acts, which are kept for good.
func disposable() []event.Kind {
	return []event.Kind{event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave, event.RoomChange,
		event.Delivery, event.Call, event.FlowSeen, event.DNSQuery, event.WebRequest, event.ProgramRun, event.FindingHit, event.MediaIn,
		event.VerdictSet, event.Gap}
}

// certify leaves out what is held, makes the certificate of the rest durable, and destroys it. No hold can be placed meanwhile.
func (k *Keeper) certify(ctx context.Context, by, reason string, due []archive.Record, dry bool, d *Disposal, gone map[uint64][]int) error {
	k.Holds.mu.RLock()
	defer k.Holds.mu.RUnlock()
	act := newAct(k.Clock, by, archive.ActDispose, "", reason)
	var free []archive.Record
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
		act.Act.Details = append(act.Act.Details, event.Fact{Name: archive.DetailRecord, Value: string(r.Event.ID)})
	}
	if dry || len(free) == 0 {
		return nil
	}
	act.Act.Object = strconv.Itoa(len(free)) + " records"
	if err := k.Acts.Record(ctx, act); err != nil {
		return err
	}
	d.Certificates = append(d.Certificates, act.ID)
	for _, r := range free {
		if err := k.destroy(context.WithoutCancel(ctx), r); err != nil {
			return err
		}
		gone[r.Position.Sequence] = append(gone[r.Position.Sequence], r.Position.Record-1)
		d.Disposed++
	}
	return nil
}
