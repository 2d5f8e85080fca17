package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
)

// besideIt is the ending of a file that is being built beside the one in use.
const besideIt = ".new"

// suffixes are those of the files that are one database.
func suffixes() []string { return []string{"", "-wal", "-shm"} }

func removeFile(path string) error {
	for _, suffix := range suffixes() {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// setAside moves an unusable file away, so that somebody can look at it.
func (s *Store) setAside() error {
	_, err := setAside(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func rename(from, to string) error {
	for _, suffix := range suffixes() {
		if err := os.Rename(from+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// giveUp makes room for a new file: one of another version is removed, a damaged one is set aside.
func (s *Store) giveUp(why error) (err error) {
	if errors.Is(why, errSchema) {
		return removeFile(s.path)
	}
	s.aside, err = setAside(s.path)
	return err
}

// Aside returns where Open put a file that it could not use, "" when there was no need.
func (s *Store) Aside() string { return s.aside }

// SetAside moves a file away that turned out to be damaged, and begins anew with an empty one. It returns where the damaged one is.
func (s *Store) SetAside() (aside string, err error) {
	err = s.replace(func() error {
		aside, err = setAside(s.path)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("set damaged projections aside: %w", err)
	}
	return aside, nil
}

// Renew implements archive.Renewer: it fills a file beside the one in use, and puts it in its place when it is whole.
func (s *Store) Renew(ctx context.Context, fill func(archive.Projection) error) error {
	path := s.path + besideIt
	if err := removeFile(path); err != nil { // of a run that was cut short
		return err
	}
	fresh, err := newStore(path, s.key, s.log, s.prepare)
	if err != nil {
		return err
	}
	w, err := fresh.openWriter()
	if err != nil {
		return errors.Join(err, removeFile(path))
	}
	fresh.begin(w)
	err = fill(fresh)
	if err == nil {
		err = fresh.fold(ctx)
	}
	if err = errors.Join(err, fresh.Close()); err != nil {
		return errors.Join(err, removeFile(path))
	}
	return s.replace(func() error {
		if err := removeFile(s.path); err != nil {
			return err
		}
		return rename(path, s.path)
	})
}

// fold brings everything of the write-ahead log into the file.
func (s *Store) fold(ctx context.Context) error {
	return s.writing(ctx, func(w *conn) error {
		_, _, err := w.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
		return err
	})
}

// KeysLost returns how many records are known by their headers alone because their keys are missing.
func (s *Store) KeysLost(ctx context.Context) (n int, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.each("SELECT count(*) FROM events INDEXED BY events_keys_lost WHERE erased=2", func(r *sqlite3.Stmt) error {
			n = r.ColumnInt(0)
			return nil
		})
	})
	return n, err
}
