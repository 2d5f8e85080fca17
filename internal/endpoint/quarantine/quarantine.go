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

	"golang.org/x/sys/unix"

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
	fd, err := unix.Open(abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("quarantine: open %s: %w", abs, err)
	}
	s := &Store{dir: os.NewFile(uintptr(fd), abs), path: abs, opts: o}
	if err := errors.Join(s.protect(), s.recover()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the folder.
func (s *Store) Close() error { return s.dir.Close() }

// protect makes sure that only its owner enters the folder.
func (s *Store) protect() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.dir.Fd()), &st); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("quarantine: %s belongs to another user", s.path)
	}
	if st.Mode&0o077 != 0 {
		if err := unix.Fchmod(int(s.dir.Fd()), 0o700); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	return nil
}

// recover removes manifests whose file never came, and completes those whose file did.
func (s *Store) recover() error {
	items, err := s.manifests()
	if err != nil {
		return err
	}
	for _, i := range items {
		_, err := s.stat(i.ID)
		switch {
		case err == nil && i.State == stateTaking:
			i.State = stateHeld
			err = s.writeManifest(i)
		case errors.Is(err, unix.ENOENT):
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

// CheckHoldOf returns ErrHeld when the host, or the local user whose file it is (by name or number), is under a hold.
func (s *Store) CheckHoldOf(ctx context.Context, owner string) error {
	if err := s.CheckHold(ctx); err != nil || s.opts.Holds == nil || owner == "" {
		return err
	}
	if _, err := strconv.ParseUint(owner, 10, 32); err == nil {
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username
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
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Item{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || uint64(st.Dev) != t.Dev || st.Ino != t.Ino || st.Size != t.Size {
		return Item{}, ErrChanged
	}
	sum, err := digest(f)
	if err != nil {
		return Item{}, err
	}
	if t.SHA256 != "" && sum != t.SHA256 {
		return Item{}, ErrChanged
	}
	attrs, err := xattrs(f)
	if err != nil {
		return Item{}, err
	}
	i := Item{ID: string(event.NewID()), State: stateTaking, App: t.App, Reason: t.Reason, SHA256: sum, Size: st.Size,
		Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Links: uint64(st.Nlink),
		Accessed: st.Atim.Nano(), Modified: st.Mtim.Nano(), Xattrs: attrs, Time: s.opts.Now().UTC()}
	i.setPath(t.Path)
	return i, nil
}

// move brings the file into the folder: by rename, else by copy when it is on another file system.
func (s *Store) move(parent *os.File, name string, f *os.File, i Item) error {
	err := rename(parent, name, s.dir, i.ID)
	if errors.Is(err, unix.EXDEV) {
		return s.copyIn(parent, name, f, i)
	}
	if err != nil {
		return err
	}
	if err := s.same(s.dir, i.ID, f); err != nil { // another file was swapped in: it goes back untouched
		return errors.Join(err, rename(s.dir, i.ID, parent, name))
	}
	return errors.Join(parent.Sync(), s.dir.Sync())
}

// forget removes the manifest of an item that did not come. One whose file could not be put back keeps it.
func (s *Store) forget(id string) error {
	if _, err := s.stat(id); err == nil {
		return nil
	}
	return s.dropManifest(id)
}

// same returns ErrChanged unless name in dir is the file that f is.
func (s *Store) same(dir *os.File, name string, f *os.File) error {
	var a, b unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &a, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fstat(int(f.Fd()), &b); err != nil {
		return err
	}
	if a.Dev != b.Dev || a.Ino != b.Ino {
		return ErrChanged
	}
	return nil
}

// copyIn copies the file into the folder, and then removes exactly the file that was copied: under a name that nobody else uses.
func (s *Store) copyIn(parent *os.File, name string, f *os.File, i Item) error {
	if err := copyTo(s.dir, i.ID, f, i); err != nil {
		return err
	}
	aside := ".chaperone-" + i.ID
	if err := rename(parent, name, parent, aside); err != nil {
		return errors.Join(err, unlink(s.dir, i.ID))
	}
	if err := s.same(parent, aside, f); err != nil {
		return errors.Join(err, rename(parent, aside, parent, name), unlink(s.dir, i.ID))
	}
	return errors.Join(unlink(parent, aside), parent.Sync())
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
	if errors.Is(err, unix.ENOENT) {
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
	if err := unix.Fstatat(int(parent.Fd()), name, &unix.Stat_t{}, unix.AT_SYMLINK_NOFOLLOW); err == nil {
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
	if err := setMeta(f, i); err != nil {
		return err
	}
	err := rename(s.dir, i.ID, parent, name)
	switch {
	case errors.Is(err, unix.EEXIST):
		return ErrExists
	case errors.Is(err, unix.EXDEV):
		aside := ".chaperone-" + i.ID
		if err := copyTo(parent, aside, f, i); err != nil {
			return err
		}
		if err := rename(parent, aside, parent, name); err != nil {
			if errors.Is(err, unix.EEXIST) {
				err = ErrExists
			}
			return errors.Join(err, unlink(parent, aside))
		}
		err = unlink(s.dir, i.ID)
		return errors.Join(err, parent.Sync())
	case err != nil:
		return err
	}
	return errors.Join(parent.Sync(), s.dir.Sync())
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
