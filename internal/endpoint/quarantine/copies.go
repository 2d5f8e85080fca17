package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
)

// Copy is a package that was removed, as it was kept to bring it back.
type Copy struct {
	Name string // of its file
	Path string
	Size int64
	Time time.Time // since when it has been kept: when the package was last removed
}

// Copies lists the copies of removed packages, by name.
func (s *Store) Copies() ([]Copy, error) {
	entries, err := os.ReadDir(filepath.Join(s.path, kept))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine: copies of packages: %w", err)
	}
	var out []Copy
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), copySuffix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("quarantine: copies of packages: %w", err)
		}
		out = append(out, Copy{e.Name(), filepath.Join(s.path, kept, e.Name()), info.Size(), info.ModTime().UTC()})
	}
	return out, nil
}

// DueCopy returns ErrTooYoung unless a copy has been kept for age at least, and LeastAge: until then removing its package can be undone.
func (s *Store) DueCopy(c Copy, age time.Duration) error { return s.due(c.Time, age) }

// PurgeCopy deletes the copy of a package for good, by the rules of Purge. The act is recorded before it is done.
func (s *Store) PurgeCopy(ctx context.Context, name string, age time.Duration) error {
	fail := func(err error) error { return fmt.Errorf("purge %s: %w", name, err) }
	root, err := os.OpenRoot(filepath.Join(s.path, kept))
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	st, err := handle.Stat(f)
	switch {
	case err != nil:
		return fail(err)
	case st.Kind != handle.Regular || !strings.HasSuffix(name, copySuffix):
		return fail(ErrNotFound)
	}
	since := time.Unix(0, st.Modified).UTC()
	if err := s.due(since, age); err != nil {
		return fail(err)
	}
	if err := s.CheckHoldOf(ctx, st.Owner()); err != nil {
		return fail(err)
	}
	sum, err := digest(f)
	if err != nil {
		return fail(err)
	}
	i := Item{ID: name, SHA256: sum, Size: st.Size}
	i.setPath(filepath.Join(s.path, kept, name))
	if err := s.act(ctx, "quarantine.purge", i, "copy of a removed package, kept since "+since.Format(time.RFC3339)+", "+strconv.FormatInt(st.Size, 10)+" bytes"); err != nil {
		return fail(err)
	}
	if err := root.Remove(name); err != nil {
		return fail(err)
	}
	return nil
}
