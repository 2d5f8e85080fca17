package server

import (
	"context"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive/observation"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// openObservations opens what was seen and is no record. It lies beside the projections, for it cannot be derived from the journal.
func (s *Store) openObservations(private *seal.PrivateKey, salt []byte) error {
	key, err := private.Derive(salt, "chaperone observations v1", sqlite.KeySize)
	if err != nil {
		return err
	}
	var aside string
	if s.observed, aside, err = sqlite.OpenObservations(filepath.Join(s.Dir, "observations"), key, s.Log); err == nil && aside != "" {
		s.Log.Error("observations could not be read and are set aside", "file", aside)
		s.Board.Set("observations file", health.Degraded, "the file could not be read and was set aside: "+aside, "No record is missing. Delete it, unless the key it was written with (compliance key, state/projections.key) can be brought back.")
	}
	return err
}

// observers are all told.
type observers []event.Observer

// Observe implements event.Observer.
func (o observers) Observe(e *event.Event) {
	for _, each := range o {
		each.Observe(e)
	}
}

// observations builds what takes observations: counts go on record each minute; where a key is unlocked, what was seen is kept for some days.
func (s *Server) observations() {
	counts := journal.NewObservations(s.store.Recorder, time.Minute, s.log)
	s.add(part{name: "counts of observations", after: true, run: func(ctx context.Context) error { counts.Run(ctx); return nil }})
	if s.store.observed == nil {
		s.board.Set(observation.Item, health.OK, "only counted: no key is unlocked here (keys.unlock)", "")
		s.observer = counts
		return
	}
	k := observation.New(observation.Config{Store: s.store.observed, Holds: s.store.Holds, Acts: s.store.Recorder, Days: s.cfg.Observations.Kept(),
		Known: s.store.knownHost, Board: s.board, Clock: s.store.Clock, Log: s.log})
	s.meters.observe(s.registry, k)
	s.add(part{name: "observations", after: true, run: func(ctx context.Context) error { k.Run(ctx); return nil }})
	s.observer = observers{counts, k}
}

// knownHost returns the id that records gave a machine. Observations give none: the map of names would outlive them.
func (s *Store) knownHost(h event.Host) string {
	name := h.Name
	if name == "" {
		name = h.Address
	}
	return s.names.Known(identity.HostName, "", name)
}
