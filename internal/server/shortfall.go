package server

import (
	"context"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/server/shortfall"
)

// short says that the record is shorter than it is known to have been, and puts that on record; "" is nothing.
func (s *Store) short(ctx context.Context, what string) error {
	if what == "" {
		return nil
	}
	s.Log.Error(what, "do", shortfall.Do)
	s.Board.Set(shortfall.Item, health.Failed, what, shortfall.Do)
	return s.Recorder.Record(ctx, &event.Event{Kind: event.Act, Phase: shortfall.Act, Connector: "serve", Content: event.Content{Act: &event.ActDetail{
		Action: shortfall.Act, Object: "journal", Details: []event.Fact{{Name: "what", Value: what}}}}})
}

// projectedMore keeps projections that know more than the journal: they may be the only copy of what is missing.
func (s *Store) projectedMore(ctx context.Context) error {
	at, err := s.projections.Position(ctx, journal.Local)
	if err != nil {
		return nil // whoever reads them sets them aside
	}
	what, err := shortfall.Against(ledger.Reach{By: "the search index", Leaves: at.Sequence}, s.frames)
	if err != nil || what == "" {
		return err
	}
	aside, err := s.projections.SetAside()
	if err != nil {
		return err
	}
	return s.short(ctx, what+"; the index is kept as "+aside+", and built anew")
}

// watchShort asks, once after the start, the recipients that can be asked how far what they keep reaches: a data directory that was restored
// whole knows nothing of it.
func (s *Server) watchShort(ctx context.Context) error {
	kept, err := s.store.Ledger.Kept(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("ask the recipients of checkpoints what they keep", "error", err)
	}
	what, err := shortfall.Against(kept, s.store.frames)
	if err != nil { // of a journal that began a moment ago
		what = err.Error()
	}
	if ctx.Err() != nil || s.board.State(shortfall.Item) != "" {
		return nil
	}
	return s.store.short(ctx, what)
}
