package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// ErrTooLarge says that an event's content is larger than a record may be. The caller quarantines it with event.ReasonOversize.
var ErrTooLarge = errors.New("journal: content is larger than a record may be")

// AdminScope is the scope of records that belong to no room, host or conversation.
const AdminScope seal.Scope = "admin"

// Recorder makes events durable records: it names their parties by random ids, seals their content and appends them. It implements
// event.Recorder.
type Recorder struct {
	journal Journal
	sealer  seal.Sealer
	names   identity.Namer
	clock   clock.Clock
}

// NewRecorder returns a recorder on a journal.
func NewRecorder(j Journal, s seal.Sealer, n identity.Namer, c clock.Clock) *Recorder {
	return &Recorder{j, s, n, c}
}

// Record implements event.Recorder: all events, in one group commit, or none. It fills what is missing of an event's ID, Received and the
// ids of its parties.
func (r *Recorder) Record(ctx context.Context, events ...*event.Event) error {
	records := make([]Record, len(events))
	for i, e := range events {
		var err error
		if records[i], err = r.record(ctx, e); err != nil {
			return fmt.Errorf("record %s: %w", e.Kind, err)
		}
	}
	_, err := r.journal.Append(ctx, records...)
	return err
}

func (r *Recorder) record(ctx context.Context, e *event.Event) (Record, error) {
	if e.ID == "" {
		e.ID = event.NewID()
	}
	if e.Received.IsZero() {
		e.Received = r.clock.Now()
	}
	if e.Time.IsZero() {
		e.Time = e.Received
	}
	e.Time, e.Until, e.Received = e.Time.UTC(), e.Until.UTC(), e.Received.UTC()
	if err := r.name(ctx, e); err != nil {
		return Record{}, err
	}
	h, content, err := e.Split(event.NewSalt())
	if err != nil {
		return Record{}, event.Unfit(err)
	}
	if len(content) > MaxSealed-1024 {
		return Record{}, event.Unfit(ErrTooLarge)
	}
	sealed, err := r.sealer.Seal(scope(e), content, []byte(e.ID))
	if err != nil {
		return Record{}, err
	}
	h.Sealed = event.Digest(sealed)
	header, err := event.Canonical(&h)
	if err != nil {
		return Record{}, event.Unfit(err)
	}
	if len(header) > MaxHeader {
		return Record{}, event.Unfit(ErrTooLarge)
	}
	return Record{header, sealed}, nil
}

func (r *Recorder) name(ctx context.Context, e *event.Event) error {
	var err error
	give := func(id *string, kind identity.NameKind, connector, name string) {
		if err == nil && *id == "" && name != "" {
			*id, err = r.names.ID(ctx, kind, connector, name)
		}
	}
	give(&e.From.ID, identity.HandleName, e.Connector, e.From.Handle)
	for i := range e.To {
		give(&e.To[i].ID, identity.HandleName, e.Connector, e.To[i].Handle)
	}
	if e.CallDetail != nil {
		for i := range e.CallDetail.Parties {
			give(&e.CallDetail.Parties[i].ID, identity.HandleName, e.Connector, e.CallDetail.Parties[i].Handle)
		}
	}
	for i := range e.Audience {
		give(&e.Audience[i].ID, identity.HandleName, e.Connector, e.Audience[i].Handle)
	}
	give(&e.Room.ID, identity.RoomName, e.Connector, e.Room.Name)
	host := e.Host.Name
	if host == "" {
		host = e.Host.Address
	}
	give(&e.Host.ID, identity.HostName, "", host)
	return err
}

// scope says which key tree a record's key is from: that of its room, else its host, else its two parties, else the administrators'.
func scope(e *event.Event) seal.Scope {
	switch {
	case e.Room.ID != "":
		return seal.Scope(e.Room.ID)
	case e.Host.ID != "":
		return seal.Scope(e.Host.ID)
	case e.From.ID != "" && len(e.To) > 0:
		ids := []string{e.From.ID}
		for _, to := range e.To {
			ids = append(ids, to.ID)
		}
		slices.Sort(ids)
		return seal.Scope(strings.Join(ids, "+"))
	}
	return AdminScope
}

// Follow calls take with each frame of a stream, from the one with sequence from on, in order, and waits for more until the context ends
// or take fails.
func Follow(ctx context.Context, r Reader, stream string, from uint64, take func(Frame) error) error {
	next := max(from, 1)
	for {
		for f, err := range r.Frames(ctx, stream, next) {
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			if err := take(f); err != nil {
				return err
			}
			next = f.Head.Sequence + 1
		}
		if err := r.Wait(ctx, stream, next-1); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}
