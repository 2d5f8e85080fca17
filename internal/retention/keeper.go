package retention

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// Class is a retention class.
type Class struct {
	ID      string
	Days    int
	Request bool // two people may have a record erased before its time
}

// Errors of Erase.
var (
	ErrRetained = errors.New("the record's retention has not run out, and its class does not allow erasure on request")
	ErrGone     = errors.New("the record's content is destroyed already")
	ErrKept     = errors.New("acts are kept for good")
)

// Outcome is what came of a request to erase.
type Outcome string

// The outcomes. One account alone requests; another one's request erases.
const (
	Requested Outcome = "requested"
	Erased    Outcome = "erased"
)

// Eraser destroys the key of a sealed record, durably.
type Eraser interface {
	Erase(sealed []byte) error
}

// Checker is an Eraser that knows beforehand whether it could destroy a key.
type Checker interface {
	CanErase(sealed []byte) error
}

// Frames reads the journal.
type Frames interface {
	// Frame returns one frame.
	Frame(ctx context.Context, stream string, sequence uint64) (journal.Frame, error)
}

// FramesOf reads single frames through a journal's reader.
type FramesOf struct{ Reader journal.Reader }

// Frame returns one frame.
func (f FramesOf) Frame(ctx context.Context, stream string, sequence uint64) (journal.Frame, error) {
	for frame, err := range f.Reader.Frames(ctx, stream, sequence) {
		if err == nil && frame.Head.Sequence != sequence {
			err = fmt.Errorf("frame %d of stream %s is %d", sequence, stream, frame.Head.Sequence)
		}
		return frame, err
	}
	return journal.Frame{}, fmt.Errorf("frame %d of stream %s: %w", sequence, stream, archive.ErrNotFound)
}

// Config is what a Keeper works with.
type Config struct {
	Holds   *Holds
	Records Records
	Places  Places
	Frames  Frames
	Eraser  Eraser
	Acts    event.Recorder
	Sync    func(context.Context) error           // brings the projections up with the journal: Projector.Sync
	ClassOf func(*event.Event) (c Class, ok bool) // the class of an event; not ok: kept for good
	Clock   clock.Clock

	// Detach drops the sealed bytes of disposed records, by sequence and index in their frames, from the journal (storage/file.Journal.Detach).
	// Without it they stay, as bytes that no key opens.
	Detach func(ctx context.Context, records map[uint64][]int) error

	// Objects holds the sealed files. One is deleted when no record that names it has content any more; nil, or without Detach, they stay, as
	// bytes that no key opens. So do those of records that were erased on request, whose sealed bytes stay too.
	Objects Objects
}

// Objects deletes sealed files. Deleting one that is not there is no error.
type Objects interface {
	Delete(ctx context.Context, name string) error
}

// Keeper destroys what may be destroyed, and nothing else.
type Keeper struct {
	Config
	mu      sync.Mutex // one destroys at a time
	pending map[event.ID]string
}

// NewKeeper returns a keeper that knows the requests that were made before. It finishes what was begun when the program last ended.
func NewKeeper(ctx context.Context, c Config) (*Keeper, error) {
	k := &Keeper{Config: c, pending: map[event.ID]string{}}
	past, err := actsOf(ctx, c.Records, ActRequest, archive.ActErase)
	if err != nil {
		return nil, fmt.Errorf("read requests to erase: %w", err)
	}
	for _, r := range past {
		if r.Event.Phase == ActRequest {
			k.pending[r.Event.Refers] = r.Event.From.Handle
		} else {
			delete(k.pending, r.Event.Refers)
		}
	}
	return k, k.resume(ctx)
}

// resume destroys once more what certificates say that no end of a run confirms: the program may have ended between act and destruction.
func (k *Keeper) resume(ctx context.Context) error {
	latest, run, err := k.unfinished(ctx)
	if err != nil {
		return fmt.Errorf("read certificates: %w", err)
	}
	left := newRemains()
	held := false
	for _, c := range latest {
		kept, err := k.redo(ctx, c, left)
		if err != nil {
			return fmt.Errorf("finish the erasure of %s: %w", c.record, err)
		}
		held = held || kept
	}
	if run == "" {
		return nil
	}
	if err := k.clear(ctx, left); err != nil || held { // what is held is tried again
		return err
	}
	return k.end(ctx, "system", run)
}

// certificate is what an act says that it destroyed.
type certificate struct {
	record  event.ID
	dispose bool // else erased on request
}

// unfinished returns the latest certificates down to the last end of a run, and the run that they are of, "" when none was a disposal. Where
// no run ever ended these are those of the last one, and a batch before.
func (k *Keeper) unfinished(ctx context.Context) (latest []certificate, run string, err error) {
	f := archive.Filter{Kinds: []event.Kind{event.Act}, Acts: []string{archive.ActErase, archive.ActDispose, archive.ActDisposed}}
	for r, err := range k.Records.Select(ctx, f, "") {
		if err != nil {
			return nil, "", err
		}
		if r.Event.Phase == archive.ActDisposed {
			break
		}
		dispose := r.Event.Phase == archive.ActDispose
		if dispose && r.Event.Act != nil && run == "" {
			run = r.Event.Act.Object
		}
		if len(latest) >= perBatch && (!dispose || r.Event.Act == nil || r.Event.Act.Object != run) {
			break
		}
		for _, id := range archive.Destroyed(r.Event) {
			latest = append(latest, certificate{id, dispose})
		}
	}
	return latest, run, nil
}

// redo destroys a certified record again, unless it is held by now.
func (k *Keeper) redo(ctx context.Context, c certificate, left *remains) (held bool, err error) {
	r, err := k.Records.Record(ctx, c.record)
	if errors.Is(err, archive.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		_, held, err = k.Holds.RecordHeld(ctx, r) // by the ids in its header
	}
	if err != nil || held {
		return held, err
	}
	if !c.dispose {
		left = newRemains()
	}
	if err := k.destroy(ctx, r, left); !errors.Is(err, seal.ErrRootLost) {
		return false, err
	}
	// A copy of the keys can bring it back: it is destroyed then, unless its bytes are dropped with those of the others.
	return !c.dispose || k.Detach == nil, nil
}

// Erase asks, in the name of an account, that a record's content be destroyed before its time. The first request is put on record; the same
// request by another account carries it out. It is refused while a hold covers the record, whoever asks.
func (k *Keeper) Erase(ctx context.Context, by string, id event.ID, reason string) (Outcome, error) {
	if err := checkWords(map[string]string{"account": by, "reason": reason}); err != nil {
		return "", fmt.Errorf("erase %s: %w", id, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Holds.mu.RLock()
	defer k.Holds.mu.RUnlock()
	outcome, err := k.erase(ctx, by, id, reason)
	if err != nil {
		return "", fmt.Errorf("erase %s: %w", id, err)
	}
	return outcome, nil
}

func (k *Keeper) erase(ctx context.Context, by string, id event.ID, reason string) (Outcome, error) {
	if err := k.Sync(ctx); err != nil {
		return "", err
	}
	r, err := k.Records.Record(ctx, id)
	if err != nil {
		return "", err
	}
	if err := k.mayErase(ctx, r); err != nil {
		return "", err
	}
	if err := k.canErase(ctx, r); err != nil {
		return "", err
	}
	first, asked := k.pending[id]
	if !asked || first == by {
		act := newAct(k.Clock, by, ActRequest, string(id), reason)
		act.Refers = id
		if err := k.Acts.Record(ctx, act); err != nil {
			return "", err
		}
		k.pending[id] = by
		return Requested, nil
	}
	act := newAct(k.Clock, by, archive.ActErase, string(id), reason)
	act.Refers = id
	act.Act.Details = []event.Fact{{Name: archive.DetailRecord, Value: string(id)}, {Name: "asked first by", Value: first}}
	if err := k.Acts.Record(ctx, act); err != nil {
		return "", err
	}
	delete(k.pending, id)
	if err := k.destroy(ctx, r, newRemains()); err != nil {
		return "", err
	}
	return Erased, k.Sync(ctx)
}

// mayErase is called with the holds locked.
func (k *Keeper) mayErase(ctx context.Context, r archive.Record) error {
	switch {
	case r.Event.Kind == event.Act:
		return ErrKept
	case r.Erased:
		return ErrGone
	case r.KeyLost:
		return archive.ErrKeyLost
	}
	if err := k.notHeld(ctx, r); err != nil {
		return err
	}
	class, ok := k.ClassOf(r.Event)
	if !ok || !class.Request && !k.over(r, class) {
		return ErrRetained
	}
	return nil
}

func (k *Keeper) notHeld(ctx context.Context, r archive.Record) error {
	matter, held, err := k.Holds.held(ctx, r.Event)
	if held {
		return &HeldError{"the record", matter}
	}
	return err
}

// over reports whether the time of a record's class has run out: from when we saw it, of imports from when it happened.
func (k *Keeper) over(r archive.Record, c Class) bool {
	from := r.Event.Received
	if r.Event.Source == event.SourceImport && !r.Event.Time.IsZero() && r.Event.Time.Before(k.Clock.Now()) {
		from = r.Event.Time
	}
	return !from.IsZero() && c.Days > 0 && k.Clock.Now().Sub(from) > time.Duration(c.Days)*24*time.Hour
}
