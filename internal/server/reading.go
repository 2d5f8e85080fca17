package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/storage/object"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// archiveItem is the health item of a file of projections that was damaged.
const archiveItem = "archive"

// readOrRebuild opens what reads. Projections that turn out to be damaged are set aside and built anew from the journal: they hold nothing
// that is not there.
func (s *Store) readOrRebuild(ctx context.Context, c *config.Config, classes Classes) error {
	aside, err := s.projections.Aside(), s.read(ctx, c, classes)
	if err != nil && sqlite.Unusable(err) {
		s.Log.Error("the file of projections is damaged; it is set aside and built anew from the journal, which takes a while", "error", err)
		var failed error
		if aside, failed = s.projections.SetAside(); failed != nil {
			return errors.Join(err, failed)
		}
		err = s.read(ctx, c, classes)
	}
	if err == nil && aside != "" {
		s.Log.Error("the file of projections was damaged and was built anew from the journal", "damaged", aside)
		s.Board.Set(archiveItem, health.Degraded, "the file of projections was damaged and was built anew from the journal; the damaged one is "+aside,
			"Nothing of the record is lost. Look at the disk (dmesg, smartctl), then delete the damaged file.")
	}
	return err
}

// read builds what reads on projections that are up with the journal.
func (s *Store) read(ctx context.Context, c *config.Config, classes Classes) error {
	s.Projector = archive.NewProjector(s.Journal, s.opener, s.Clock, s.Log, archive.Enrolled(s.projections, s.roll))
	if err := s.Projector.Sync(ctx); err != nil {
		return fmt.Errorf("bring the projections up with the journal: %w", err)
	}
	all := archive.New(archive.Driver{Records: s.projections, Catalogue: s.projections, Counts: s.projections, Observations: s.observed}, s.Recorder, s.Clock)
	if err := all.Enrol(ctx, s.roll); err != nil {
		return err
	}
	s.Archive, s.Pages = all.WithPseudonyms(s.roll, c.Pseudonyms.OnCommandLine()), all.WithPseudonyms(s.roll, c.Pseudonyms.InConsole())
	var err error
	if s.Holds, err = retention.NewHolds(ctx, s.projections, s.projections, s.Recorder, s.Clock); err != nil {
		return err
	}
	s.Searcher = search.New(s.projections, s.Holds)
	objects, err := object.Open(s.Dir, 0)
	if err != nil {
		return err
	}
	s.Keeper, err = retention.NewKeeper(ctx, retention.Config{Holds: s.Holds, Records: s.projections, Places: s.projections, Frames: retention.FramesOf{Reader: s.Journal},
		Eraser: s.opener, Acts: s.Recorder, Sync: s.Projector.Sync, ClassOf: classes, Clock: s.Clock, Detach: s.Journal.Detach, Objects: objects})
	if err != nil {
		return err
	}
	return s.keysHealth(ctx)
}
