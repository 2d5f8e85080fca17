//go:build !linux

package command

import (
	"errors"
	"io/fs"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
)

// CatalogInForce returns the catalog of this program: updates of the catalog reach this system through a fleet alone.
func (d *DataFlags) CatalogInForce() (*catalog.Catalog, error) { return catalog.Default() }

// session: no command has a data directory with records open on this system.
type session struct{}

func newSession() *session { return &session{} }

func (*session) close() error { return nil }

// Interrupted says of an interrupted run what is known: nothing is recorded here without a fleet.
func Interrupted(e *Env, err error, _ event.Recorder) error {
	if e.Ctx.Err() == nil || !errors.Is(err, e.Ctx.Err()) {
		return err
	}
	return hint.New(errors.New("interrupted before the end; what is printed above was found until then, and nothing was recorded"), "run it again for the rest")
}

// advice says what to do about an error of the file system.
func advice(err error) string {
	var path *fs.PathError
	switch {
	case !errors.As(err, &path):
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return missing(path.Path)
	case errors.Is(err, fs.ErrPermission):
		return "this user may not open " + path.Path + ": run the command as an administrator"
	}
	return ""
}
