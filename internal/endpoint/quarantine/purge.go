package quarantine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// LeastAge is how long a file stays in quarantine at least: time to notice that it was taken by mistake.
const LeastAge = 24 * time.Hour

// ErrTooYoung says that an item, or the copy of a package, has not been in quarantine for long enough to be deleted.
var ErrTooYoung = errors.New("it has not been in quarantine for long enough")

// Purge deletes an item for good: one that has been in quarantine for age at least, and LeastAge, on a host and of an owner that are not under
// a hold. The act is recorded before it is done.
func (s *Store) Purge(ctx context.Context, id string, age time.Duration) (Item, error) {
	i, err := s.readManifest(id)
	if err != nil {
		return Item{}, err
	}
	fail := func(err error) (Item, error) { return i, fmt.Errorf("purge %s: %w", id, err) }
	if err := s.Due(i, age); err != nil {
		return fail(err)
	}
	if err := s.CheckHoldOf(ctx, i.owner()); err != nil {
		return fail(err)
	}
	if err := s.act(ctx, "quarantine.purge", i, "in quarantine since "+i.Time.Format(time.RFC3339)); err != nil {
		return fail(err)
	}
	if err := unlink(s.dir, i.ID); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	return i, s.dropManifest(id)
}

// Due returns ErrTooYoung unless an item has been in quarantine for age at least, and LeastAge.
func (s *Store) Due(i Item, age time.Duration) error { return s.due(i.Time, age) }

func (s *Store) due(since time.Time, age time.Duration) error {
	been := s.opts.Now().Sub(since)
	if least := max(age, LeastAge); been < least {
		return fmt.Errorf("%w: %s of %s", ErrTooYoung, been.Round(time.Minute), least)
	}
	return nil
}
