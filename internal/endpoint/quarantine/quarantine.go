// Package quarantine takes files away so that they can be brought back exactly: bytes, mode, owner, times and extended attributes.
//
// A file is moved, never opened by whoever might run it: into a folder that only its owner enters, next to a manifest that is written first.
// Everything happens relative to opened folders, whose paths are walked without following a link, and the file is known again by device,
// inode, size and content before and after it is moved: a link that is swapped in between is left where it is.
package quarantine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Holds tells whether a host, or the person whose host it is, is under a legal hold, and for which matter.
type Holds interface {
	HostHeld(ctx context.Context, host event.Host) (matter string, held bool, err error)
}

// Options are what a Store works with. All may be zero.
type Options struct {
	Recorder event.Recorder // acts are recorded before they are done; nil: not recorded
	Holds    Holds          // nil: nothing is held
	Host     event.Host
	Account  event.Party // who acts
	Now      func() time.Time
	Log      *slog.Logger
}

// Store is a quarantine folder. It is not safe for concurrent use by several processes.
type Store struct {
	dir  *os.File
	path string
	opts Options
}

// Target is a file to be taken: where it is, and what it was when it was judged.
type Target struct {
	Path     string // absolute, without links
	Dev, Ino uint64
	Size     int64
	SHA256   string
	App      string
	Reason   string // e.g. the rule
	Owner    string // local user, asked for holds; "" asks for the host alone
}

// Errors of the package.
var (
	ErrHeld     = errors.New("under a legal hold: nothing is removed")
	ErrChanged  = errors.New("the file is not the one that was judged")
	ErrExists   = errors.New("something else is there now")
	ErrNotFound = errors.New("no such item in quarantine")
	ErrNoParent = errors.New("the folder it came from is gone")
)

// Open opens the quarantine in dir, which it makes if need be, and finishes or undoes what a crash left half done.
func Open(dir string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	s := &Store{path: abs, opts: o}
	if s.dir, err = openStore(abs); err != nil {
		return nil, fmt.Errorf("quarantine: open %s: %w", abs, err)
	}
	if err := errors.Join(protect(s.dir), s.recover()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Dir is where the store is.
func (s *Store) Dir() string { return s.path }

// Close closes the folder.
func (s *Store) Close() error { return s.dir.Close() }

// recover removes manifests whose file never came, and completes those whose file did.
func (s *Store) recover() error {
	items, err := s.manifests()
	if err != nil {
		return err
	}
	for _, i := range items {
		_, err := handle.StatAt(s.dir, i.ID)
		switch {
		case err == nil && i.State == stateTaking:
			i.State = stateHeld
			err = s.writeManifest(i)
		case errors.Is(err, os.ErrNotExist):
			s.opts.Log.Warn("quarantine: an item was left without its file and is forgotten", "id", i.ID, "state", i.State)
			err = s.dropManifest(i.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckHold returns ErrHeld when the host is under a hold.
func (s *Store) CheckHold(ctx context.Context) error {
	if s.opts.Holds == nil {
		return nil
	}
	matter, held, err := s.opts.Holds.HostHeld(ctx, s.opts.Host)
	if err != nil {
		return fmt.Errorf("quarantine: look up holds: %w", err)
	}
	if held {
		return fmt.Errorf("%w (host %s, matter %s)", ErrHeld, s.opts.Host.Name, matter)
	}
	return nil
}

// CheckHoldOf returns ErrHeld when the host, or the local user whose file it is (by name, number or security identifier), is under a hold.
func (s *Store) CheckHoldOf(ctx context.Context, owner string) error {
	if err := s.CheckHold(ctx); err != nil || s.opts.Holds == nil || owner == "" {
		return err
	}
	if _, err := strconv.ParseUint(owner, 10, 32); err == nil || strings.HasPrefix(owner, "S-1-") {
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
		}
	}
	host := s.opts.Host
	host.Person = owner
	matter, held, err := s.opts.Holds.HostHeld(ctx, host)
	if err != nil {
		return fmt.Errorf("quarantine: look up holds: %w", err)
	}
	if held {
		return fmt.Errorf("%w (owner %s, matter %s)", ErrHeld, owner, matter)
	}
	return nil
}

// CheckHoldOfStore returns ErrHeld when the one whose store of conversations this is is under a hold: their messenger stays. A store that is not
// there belongs to nobody.
func (s *Store) CheckHoldOfStore(ctx context.Context, path string) error {
	if s.opts.Holds == nil {
		return nil
	}
	f, err := handle.Open(nil, path, path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("quarantine: whose store: %w", err)
	}
	defer f.Close()
	st, err := handle.Stat(f)
	if err != nil {
		return fmt.Errorf("quarantine: whose store: %w", err)
	}
	return s.CheckHoldOf(ctx, st.Owner())
}

// Take moves a file into quarantine.
func (s *Store) Take(ctx context.Context, t Target) (Item, error) {
	if err := s.CheckHoldOf(ctx, t.Owner); err != nil {
		return Item{}, err
	}
	parent, err := openDir(filepath.Dir(t.Path))
	if err != nil {
		return Item{}, fmt.Errorf("quarantine %s: %w", t.Path, err)
	}
	defer parent.Close()
	name := filepath.Base(t.Path)
	f, err := openFile(parent, name)
	if err != nil {
		return Item{}, fmt.Errorf("quarantine %s: %w", t.Path, err)
	}
	defer f.Close()
	item, err := s.describe(f, t)
	if err != nil {
		return Item{}, fmt.Errorf("quarantine %s: %w", t.Path, err)
	}
	if err := s.writeManifest(item); err != nil {
		return Item{}, err
	}
	if err := s.act(ctx, "quarantine.take", item, t.Reason); err != nil {
		return Item{}, errors.Join(err, s.dropManifest(item.ID))
	}
	if err := s.move(parent, name, f, item); err != nil {
		return Item{}, errors.Join(fmt.Errorf("quarantine %s: %w", t.Path, err), s.forget(item.ID))
	}
	item.State = stateHeld
	if err := s.writeManifest(item); err != nil {
		return Item{}, err
	}
	return item, nil
}

// Left returns how many names still lead to the file of an item that was just taken: of those it had, not those that are items themselves.
func (s *Store) Left(i Item) (uint64, error) {
	if i.Links <= 1 {
		return 0, nil
	}
	own, err := handle.StatAt(s.dir, i.ID)
	if err != nil {
		return 0, fmt.Errorf("quarantine: names of %s: %w", i.ID, err)
	}
	names, err := s.names("")
	if err != nil {
		return 0, err
	}
	left := i.Links - 1
	for _, name := range names {
		if name == i.ID || strings.HasSuffix(name, manifestSuffix) {
			continue
		}
		if st, err := handle.StatAt(s.dir, name); err == nil && st.Dev == own.Dev && st.Ino == own.Ino && left > 0 {
			left--
		}
	}
	return left, nil
}

// Check returns ErrChanged unless what is at the target's path is still the file that was judged.
func (s *Store) Check(t Target) error {
	parent, err := openDir(filepath.Dir(t.Path))
	if err != nil {
		return fmt.Errorf("check %s: %w", t.Path, err)
	}
	defer parent.Close()
	f, err := openFile(parent, filepath.Base(t.Path))
	if err != nil {
		return fmt.Errorf("check %s: %w", t.Path, err)
	}
	defer f.Close()
	if _, err := s.describe(f, t); err != nil {
		return fmt.Errorf("check %s: %w", t.Path, err)
	}
	return nil
}

// describe checks that f is the target and writes down all that must come back.
func (s *Store) describe(f *os.File, t Target) (Item, error) {
	st, err := handle.Stat(f)
	if err != nil {
		return Item{}, err
	}
	if st.Kind != handle.Regular || st.Dev != t.Dev || st.Ino != t.Ino || st.Size != t.Size {
		return Item{}, ErrChanged
	}
	sum, err := digest(f)
	if err != nil {
		return Item{}, err
	}
	if t.SHA256 != "" && sum != t.SHA256 {
		return Item{}, ErrChanged
	}
	i := Item{ID: string(event.NewID()), State: stateTaking, App: t.App, Reason: t.Reason, SHA256: sum, Size: st.Size,
		Links: st.Links, Accessed: st.Accessed, Modified: st.Modified, Owner: st.SID, Time: s.opts.Now().UTC()}
	i.setPath(t.Path)
	return i, meta(f, &i)
}

// move brings the file into the folder: by rename, else by copy when it is on another file system.
func (s *Store) move(parent *os.File, name string, f *os.File, i Item) error {
	was, err := handle.Stat(f) // before: Wine does not know of a renamed file any more on which volume it is
	if err != nil {
		return err
	}
	err = rename(parent, name, s.dir, i.ID)
	if otherVolume(err) {
		return s.copyIn(parent, name, f, i)
	}
	if err != nil {
		return err
	}
	if err := s.same(s.dir, i.ID, was); err != nil { // another file was swapped in: it goes back untouched
		return errors.Join(err, rename(s.dir, i.ID, parent, name))
	}
	if err := lock(s.dir, i.ID, was); err != nil {
		return errors.Join(err, rename(s.dir, i.ID, parent, name))
	}
	return errors.Join(syncDir(parent), syncDir(s.dir))
}

// forget removes the manifest of an item that did not come. One whose file could not be put back keeps it.
func (s *Store) forget(id string) error {
	if _, err := handle.StatAt(s.dir, id); err == nil {
		return nil
	}
	return s.dropManifest(id)
}

// same returns ErrChanged unless name in dir is the file that another is, which is held open.
func (s *Store) same(dir *os.File, name string, was handle.Info) error {
	a, err := handle.StatAt(dir, name)
	if err != nil {
		return err
	}
	if a.Dev != was.Dev || a.Ino != was.Ino {
		return ErrChanged
	}
	return nil
}

// copyIn copies the file into the folder, and then removes exactly the file that was copied: under a name that nobody else uses.
func (s *Store) copyIn(parent *os.File, name string, f *os.File, i Item) error {
	was, err := handle.Stat(f)
	if err != nil {
		return err
	}
	if err := copyTo(s.dir, i.ID, f, i); err != nil {
		return err
	}
	aside := ".chaperone-" + i.ID
	if err := rename(parent, name, parent, aside); err != nil {
		return errors.Join(err, unlink(s.dir, i.ID))
	}
	if err := s.same(parent, aside, was); err != nil {
		return errors.Join(err, rename(parent, aside, parent, name), unlink(s.dir, i.ID))
	}
	return errors.Join(unlink(parent, aside), syncDir(parent))
}

// List returns the items, the oldest first.
func (s *Store) List() ([]Item, error) {
	items, err := s.manifests()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.ID, b.ID) })
	return items, nil
}

// Restore brings a file back to where it was, exactly. It overwrites nothing.
func (s *Store) Restore(ctx context.Context, id string) (Item, error) {
	i, err := s.readManifest(id)
	if err != nil {
		return Item{}, err
	}
	path, err := i.RealPath()
	if err != nil {
		return Item{}, err
	}
	fail := func(err error) (Item, error) { return i, fmt.Errorf("restore %s to %s: %w", id, path, err) }
	parent, err := openDir(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return fail(ErrNoParent)
	}
	if err != nil {
		return fail(err)
	}
	defer parent.Close()
	f, err := openFile(s.dir, id)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	sum, err := digest(f)
	if err != nil {
		return fail(err)
	}
	if sum != i.SHA256 {
		return fail(fmt.Errorf("%w: its content is damaged", ErrChanged))
	}
	name := filepath.Base(path)
	if _, err := handle.StatAt(parent, name); err == nil {
		return fail(ErrExists)
	}
	if err := s.act(ctx, "quarantine.restore", i, ""); err != nil {
		return fail(err)
	}
	if err := s.moveOut(parent, name, f, i); err != nil {
		return fail(err)
	}
	return i, s.dropManifest(id)
}

func (s *Store) moveOut(parent *os.File, name string, f *os.File, i Item) error {
	if err := unlock(s.dir, f, i); err != nil {
		return err
	}
	err := rename(s.dir, i.ID, parent, name)
	switch {
	case errors.Is(err, os.ErrExist):
		return ErrExists
	case otherVolume(err):
		aside := ".chaperone-" + i.ID
		if err := copyTo(parent, aside, f, i); err != nil {
			return err
		}
		if err := rename(parent, aside, parent, name); err != nil {
			if errors.Is(err, os.ErrExist) {
				err = ErrExists
			}
			return errors.Join(err, unlink(parent, aside))
		}
		err = unlink(s.dir, i.ID)
		return errors.Join(err, syncDir(parent))
	case err != nil:
		return err
	}
	return errors.Join(syncDir(parent), syncDir(s.dir))
}

// act records an administrative act.
func (s *Store) act(ctx context.Context, action string, i Item, reason string) error {
	if s.opts.Recorder == nil {
		return nil
	}
	path, err := i.RealPath()
	if err != nil {
		return err
	}
	now := s.opts.Now()
	e := &event.Event{ID: event.NewID(), Kind: event.Act, Phase: action, Time: now, Received: now, Connector: "quarantine",
		Host: s.opts.Host, From: s.opts.Account, Content: event.Content{
			Act: &event.ActDetail{Action: action, Object: path, Details: []event.Fact{
				{Name: "id", Value: i.ID}, {Name: "sha256", Value: i.SHA256}, {Name: "app", Value: i.App}, {Name: "reason", Value: reason},
			}},
			Program: &event.Program{Path: path, App: i.App, SHA256: i.SHA256, Size: i.Size},
		}}
	if err := s.opts.Recorder.Record(ctx, e); err != nil {
		return fmt.Errorf("quarantine: record %s: %w", action, err)
	}
	return nil
}
