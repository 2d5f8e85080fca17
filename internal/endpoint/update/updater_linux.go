package update

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Options are what an Updater works with.
type Options struct {
	Dir      string // the folder of updates
	Key      string // verifier of the release key, from the machine's own configuration
	Manager  Manager
	Binary   string                           // where the package puts this program
	Command  []string                         // that this process is, to be started again where no service manager does it
	Launch   func(ctx context.Context) error  // starts an Installer that outlives this process
	Told     func()                           // an end is on record
	Room     func(dir string) (uint64, error) // free bytes of the file system of a folder; asked of the system without it
	Recorder event.Recorder
	Now      func() time.Time
	Log      *slog.Logger
}

// Updater takes releases that a server offers.
type Updater struct {
	o   Options
	dir folder

	mu       sync.Mutex
	facts    Facts            // of what is installed
	manifest release.Manifest // of what is being fetched
	have     int64            // bytes of it
	refusal  [2]string        // id and reason of what was refused last
	welcome  bool             // the server took this process in
}

// New returns an Updater, or says why this machine takes no updates.
func New(ctx context.Context, o Options) (*Updater, error) {
	if o.Room == nil {
		o.Room = room
	}
	u := &Updater{o: o, dir: folder(o.Dir)}
	if err := u.dir.make(); err != nil {
		return nil, err
	}
	if !sameProgram("self", o.Binary) {
		return nil, fmt.Errorf("%w: what runs is not %s", ErrNotInstalled, o.Binary)
	}
	if _, err := u.dir.load(); err != nil {
		return nil, err
	}
	facts, err := o.Manager.Installed(ctx)
	if err != nil && facts.Format == "" {
		return nil, err
	}
	u.facts = facts
	return u, nil
}

// Hello says how this machine does with updates.
func (u *Updater) Hello() *protocol.Update {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := &protocol.Update{Format: u.facts.Format, Architecture: u.facts.Architecture, Version: u.facts.Version}
	s, err := u.dir.load()
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Release, out.State, out.Error, out.Refused, out.Why = s.Release, string(s.Phase), s.Error, s.Refused, s.Why
	if u.refusal[0] != "" {
		out.Refused, out.Why = u.refusal[0], u.refusal[1]
	}
	return out
}

// Offered takes a note. It returns what is to be asked for next, if anything; an error says why the release is refused.
func (u *Updater) Offered(ctx context.Context, signed []byte) (*protocol.Get, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m, err := u.prove(ctx, signed)
	if err != nil {
		return nil, u.refuse(signed, err)
	}
	return u.change(func(s *State) (*protocol.Get, error) {
		if s.Phase.Busy() {
			return nil, nil // it is offered again when that has ended
		}
		if err := newer(u.compare(ctx), m.Version, u.facts.Version, s.Highest); err != nil {
			return nil, u.refusing(s, signed, err)
		}
		if id := release.ID(signed); s.Release != id || s.Phase != Fetching && s.Phase != Waiting {
			if err := u.record(ctx, ActOffered, m, event.Fact{Name: "release", Value: id}); err != nil {
				return nil, u.later(s, err)
			}
			*s = State{Highest: s.Highest, Release: id, Note: slices.Clone(signed), Client: u.o.Command, Refused: s.Refused, Why: s.Why}
		}
		s.Phase, s.Error, s.At, u.manifest, u.have = Fetching, "", u.o.Now().UTC(), m, 0
		return u.begin(ctx, s)
	})
}

// prove checks a note against the key and against this machine.
func (u *Updater) prove(ctx context.Context, signed []byte) (release.Manifest, error) {
	m, err := release.Open(signed, u.o.Key)
	if err != nil {
		return m, err
	}
	if facts, err := u.o.Manager.Installed(ctx); err == nil {
		u.facts = facts
	}
	if m.Format != u.facts.Format || m.Architecture != u.facts.Architecture {
		return m, fmt.Errorf("%w: %s of %s, and this machine has %s of %s", ErrOther, m.Format, m.Architecture, u.facts.Format, u.facts.Architecture)
	}
	return m, nil
}

func (u *Updater) compare(ctx context.Context) func(a, b string) (bool, error) {
	return func(a, b string) (bool, error) { return u.o.Manager.Newer(ctx, a, b) }
}

// change changes the state while no Installer has it. What cannot be kept is not done.
func (u *Updater) change(f func(s *State) (*protocol.Get, error)) (*protocol.Get, error) {
	lock, err := u.dir.lock()
	if errors.Is(err, errLocked) {
		return nil, nil
	}
	if err != nil {
		u.o.Log.Error("take an update", "error", err)
		return nil, nil
	}
	s, err := u.dir.load()
	if err != nil {
		return nil, errors.Join(err, lock.Close()) // what was installed before is not known: nothing is taken
	}
	before := s.Phase
	want, refused := f(&s)
	if err := u.dir.save(s); err != nil {
		u.o.Log.Error("take an update", "error", err)
		want = nil
	}
	launch := s.Phase == Fetched && before != Fetched
	if err := lock.Close(); err != nil {
		return nil, errors.Join(err, refused)
	}
	if launch {
		u.launch()
	}
	return want, refused
}

// launch has an Installer started; where that fails, Watch tries again.
func (u *Updater) launch() {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if err := u.o.Launch(ctx); err != nil {
		u.o.Log.Error("start the installation of an update", "error", err)
	}
}

// refuse remembers what was refused, so that an honest server does not offer it again.
func (u *Updater) refuse(signed []byte, why error) error {
	_, err := u.change(func(s *State) (*protocol.Get, error) { return nil, u.refusing(s, signed, why) })
	u.refusal = [2]string{release.ID(signed), words(why)}
	return errors.Join(why, onlyOther(err, why))
}

// onlyOther is err where it is not why again.
func onlyOther(err, why error) error {
	if errors.Is(err, why) {
		return nil
	}
	return err
}

func (u *Updater) refusing(s *State, signed []byte, why error) error {
	s.Refused, s.Why = release.ID(signed), words(why)
	u.refusal = [2]string{s.Refused, s.Why}
	return why
}

// words is an error as it may be told.
func words(err error) string {
	text := err.Error()
	return text[:min(len(text), 500)]
}

// later notes why nothing can be done now.
func (u *Updater) later(s *State, err error) error {
	u.o.Log.Warn("an update waits", "error", err)
	s.Phase, s.Error, s.At = Waiting, words(err), u.o.Now().UTC()
	return nil
}

// Room that an update takes: the package, a package of what is installed and what it is made of, and what is installed beside it.
const (
	roomTimes = 6
	roomMore  = 64 << 20
)

// begin opens what is there of the package and says what is to come.
func (u *Updater) begin(ctx context.Context, s *State) (*protocol.Get, error) {
	if err := u.dir.sweep(u.manifest); err != nil {
		return nil, u.later(s, err)
	}
	if info, err := os.Lstat(u.dir.part(u.manifest)); err == nil {
		u.have = info.Size()
	}
	if u.have > u.manifest.Size {
		u.have = 0
		if err := os.Remove(u.dir.part(u.manifest)); err != nil {
			return nil, u.later(s, err)
		}
	}
	free, err := u.o.Room(u.o.Dir)
	if need := uint64(roomTimes*u.manifest.Size + roomMore); err == nil && free < need {
		err = fmt.Errorf("there is no room for the update: %d MB are free, it takes %d", free>>20, need>>20)
	}
	if err != nil {
		return nil, u.later(s, err)
	}
	if u.have == u.manifest.Size {
		return nil, u.finish(ctx, s)
	}
	return u.want(), nil
}

// want is the piece that is to come next.
func (u *Updater) want() *protocol.Get {
	g := &protocol.Get{Offset: uint64(u.have)}
	hex.Decode(g.SHA256[:], []byte(u.manifest.SHA256)) // the manifest's form was checked
	return g
}

// Piece takes a piece of a package. Pieces of something else are passed over.
func (u *Updater) Piece(ctx context.Context, p protocol.Piece) (*protocol.Get, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.manifest.SHA256 == "" || p.Get != *u.want() {
		return nil, nil
	}
	return u.change(func(s *State) (*protocol.Get, error) {
		switch {
		case s.Phase != Fetching:
			return nil, nil
		case len(p.Bytes) == 0: // withdrawn
			s.Phase, s.Release, s.Note, u.manifest = "", "", nil, release.Manifest{}
			return nil, u.dir.sweep(release.Manifest{})
		case u.have+int64(len(p.Bytes)) > u.manifest.Size:
			return nil, u.refusing(s, s.Note, fmt.Errorf("%w: it is longer", ErrContent))
		}
		if err := u.append(p.Bytes); err != nil {
			return nil, u.later(s, err)
		}
		if u.have == u.manifest.Size {
			return nil, u.finish(ctx, s)
		}
		return u.want(), nil
	})
}

// append adds to what is there of the package. What cannot be written whole is cut off again.
func (u *Updater) append(b []byte) error {
	f, err := os.OpenFile(u.dir.part(u.manifest), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, u.have); err != nil {
		return errors.Join(err, f.Truncate(u.have), f.Close())
	}
	if u.have += int64(len(b)); u.have == u.manifest.Size {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// finish proves the package, and has it installed.
func (u *Updater) finish(ctx context.Context, s *State) error {
	part := u.dir.part(u.manifest)
	if err := matches(ctx, u.o.Manager, part, u.manifest); err != nil {
		u.have = 0
		return errors.Join(u.refusing(s, s.Note, err), os.Remove(part))
	}
	if err := os.Rename(part, u.dir.whole(u.manifest)); err != nil {
		return u.later(s, err)
	}
	if err := durable.SyncDir(u.o.Dir); err != nil {
		return u.later(s, err)
	}
	u.o.Log.Info("an update was fetched and proven; it is being installed", "version", u.manifest.Version)
	s.Phase, s.At, s.From = Fetched, u.o.Now().UTC(), u.facts.Version
	return nil
}

// matches reports whether the file at path is what a manifest says.
func matches(ctx context.Context, manager Manager, path string, m release.Manifest) error {
	sum, size, err := release.Digest(path)
	if err != nil {
		return err
	}
	if sum != m.SHA256 || size != m.Size {
		return fmt.Errorf("%w: another size or SHA-256", ErrContent)
	}
	f, err := manager.Describe(ctx, path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrContent, err)
	}
	if want := (Facts{m.Format, m.Package, m.Version, m.Architecture}); f != want {
		return fmt.Errorf("%w: it is %s %s of %s", ErrContent, f.Package, f.Version, f.Architecture)
	}
	return nil
}

// Welcomed tells that the server took this process in: that is what a new program has to reach.
func (u *Updater) Welcomed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.welcome = true
}

// ready says that this program works, once.
func (u *Updater) ready(s State) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if b, err := outside.ReadFile(u.dir.ready(), maxState); !u.welcome || err == nil && string(b) == s.Attempt {
		return
	}
	if err := durable.Replace(u.dir.ready(), []byte(s.Attempt), 0o600); err != nil {
		u.o.Log.Error("say that the new program works", "error", err)
	}
}

// ErrReplaced says that another program lies where this one was started from, and is to be run instead.
var ErrReplaced = errors.New("this program was replaced")

// lookEvery is how often the work of an Installer is looked at; launchEvery how often one is started again that is gone.
const (
	lookEvery   = 500 * time.Millisecond
	launchEvery = 20 * time.Second
)

// Watch puts on record what comes of updates until the context ends, and sees to it that an Installer that is to be there is. It ends with ErrReplaced
// when this process is to make room for the program that was installed.
func (u *Updater) Watch(ctx context.Context) error {
	launched := u.o.Now()
	for ctx.Err() == nil {
		s, err := u.dir.load()
		if err == nil && s.Phase.running() && !s.Told && !sameProgram("self", u.o.Binary) {
			return ErrReplaced
		}
		switch {
		case err != nil:
			u.o.Log.Error("look at updates", "error", err)
		case s.Phase == Starting:
			u.ready(s)
		case s.Phase.ended() && !s.Told:
			u.tell(ctx)
			u.o.Told()
		}
		if s.Phase.Busy() && u.o.Now().Sub(launched) >= launchEvery && u.free() {
			launched = u.o.Now()
			u.launch()
		}
		clock.Pause(ctx, lookEvery)
	}
	return nil
}

// free reports whether no Installer is there.
func (u *Updater) free() bool {
	lock, err := u.dir.lock()
	return err == nil && lock.Close() == nil
}

// tell puts an end on record.
func (u *Updater) tell(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if facts, err := u.o.Manager.Installed(ctx); err == nil {
		u.facts = facts
	}
	_, err := u.change(func(s *State) (*protocol.Get, error) {
		if !s.Phase.ended() || s.Told {
			return nil, nil
		}
		m, err := s.manifest(u.o.Key)
		if err != nil {
			m.Version = "?" // another key is pinned by now
		}
		action := map[Phase]string{Installed: ActInstalled, RolledBack: ActRolledBack, Failed: ActFailed}[s.Phase]
		details := []event.Fact{{Name: "release", Value: s.Release}, {Name: "from", Value: s.From}}
		if s.Error != "" {
			details = append(details, event.Fact{Name: "reason", Value: s.Error})
		}
		if err := u.record(ctx, action, m, details...); err != nil {
			return nil, err // it is tried again
		}
		u.o.Log.Info("an update has ended", "version", m.Version, "state", s.Phase, "reason", s.Error)
		s.Told = true
		return nil, nil
	})
	if err != nil {
		u.o.Log.Error("put an update on record", "error", err)
	}
}

func (u *Updater) record(ctx context.Context, action string, m release.Manifest, details ...event.Fact) error {
	now := u.o.Now().UTC()
	details = append([]event.Fact{{Name: "version", Value: m.Version}, {Name: "sha256", Value: m.SHA256}}, details...)
	return u.o.Recorder.Record(ctx, &event.Event{ID: event.NewID(), Kind: event.Act, Phase: action, Time: now, Received: now, Connector: "agent",
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: release.Package + " " + m.Version, Details: details}}})
}
