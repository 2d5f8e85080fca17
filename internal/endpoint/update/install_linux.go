package update

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Installer installs what an Updater fetched, and goes back where that does not work.
type Installer struct {
	Dir     string // the folder of updates
	Key     string // verifier of the release key, from the machine's own configuration
	Manager Manager
	Binary  string
	Worker  func(ctx context.Context) (pid int, err error) // of the agent that decides on this machine; an error where none does
	Ended   func(p Phase, command []string) error          // sees to it that the fleet's client runs, and tells the end; may be nil
	Within  time.Duration                                  // how long the new program may take to show that it works
	Every   time.Duration                                  // how often that is looked at; twice a second without it
	Now     func() time.Time
	Log     *slog.Logger
}

// Bounds of trying.
const (
	mostTries    = 3
	lockTries    = 12 // while another process has the package manager
	lockWait     = 10 * time.Second
	probeTime    = 20 * time.Second
	settledLooks = 4
)

// Run installs what there is to be installed, and returns when that has ended, one way or the other.
func (i *Installer) Run(ctx context.Context) error {
	if i.Every <= 0 {
		i.Every = lookEvery
	}
	d := folder(i.Dir)
	lock, err := i.lock(ctx, d)
	if err != nil {
		return err
	}
	s, err := d.load()
	did := err == nil && s.Phase.Busy()
	if did {
		err = i.work(ctx, d, &s)
	}
	if err = errors.Join(err, lock.Close()); err == nil && did && i.Ended != nil { // whoever tells the end needs the lock
		err = i.Ended(s.Phase, s.Client)
	}
	return err
}

// work brings the update at hand to an end.
func (i *Installer) work(ctx context.Context, d folder, s *State) error {
	switch s.Phase {
	case Fetched:
		s.Tries++
		if s.Tries > mostTries {
			return i.end(s, Failed, errors.New("its installation was begun several times and came to nothing"))
		}
		if err := d.save(*s); err != nil {
			return err
		}
		return i.install(ctx, d, s)
	case Installing, Starting: // whoever was at it is gone, as after a loss of power
		m, err := s.manifest(i.Key)
		if err != nil {
			return i.end(s, Failed, fmt.Errorf("the installation was interrupted, and what was signed is not trusted any more: %w", err))
		}
		return i.back(ctx, d, s, m, errors.New("the installation was interrupted"))
	}
	return nil
}

// lock waits for the lock while the Updater has it, which is for moments.
func (i *Installer) lock(ctx context.Context, d folder) (lock *os.File, err error) {
	for range settledLooks {
		if lock, err = d.lock(); err == nil {
			break
		}
		clock.Pause(ctx, i.Every)
	}
	return lock, err
}

// install proves all again, and has it installed.
func (i *Installer) install(ctx context.Context, d folder, s *State) error {
	m, before, err := i.prove(ctx, d, s)
	if err == nil {
		err = i.keep(ctx, d, before)
	}
	if err != nil {
		return i.end(s, Failed, err)
	}
	_, noAgent := i.Worker(ctx)
	s.Agent, s.From, s.Highest, s.Attempt = noAgent == nil, before.Version, m.Version, rand.Text()
	if err := i.phase(s, Installing); err != nil {
		return err
	}
	i.Log.Info("installing an update", "version", m.Version, "from", before.Version)
	if err := i.hand(ctx, d.whole(m), before); err != nil {
		if now, asked := i.Manager.Installed(ctx); asked == nil && now == before {
			return i.end(s, Failed, fmt.Errorf("it could not be installed, and nothing was changed: %w", err))
		}
		return i.back(ctx, d, s, m, err)
	}
	if err := i.try(ctx, d, s, m); err != nil {
		return i.back(ctx, d, s, m, err)
	}
	if m.Format == release.RPM {
		err = os.Rename(d.whole(m), d.kept(m.Format))
	} else {
		err = os.Remove(d.whole(m))
	}
	if err != nil {
		i.Log.Warn("clean up after an update", "error", err)
	}
	return i.end(s, Installed, nil)
}

// prove checks note, package and version again: since they were fetched, anything may have changed.
func (i *Installer) prove(ctx context.Context, d folder, s *State) (release.Manifest, Facts, error) {
	m, err := s.manifest(i.Key)
	if err != nil {
		return m, Facts{}, err
	}
	before, err := i.Manager.Installed(ctx)
	if err != nil {
		return m, before, err
	}
	if m.Format != before.Format || m.Architecture != before.Architecture {
		return m, before, ErrOther
	}
	if err := newer(func(a, b string) (bool, error) { return i.Manager.Newer(ctx, a, b) }, m.Version, before.Version, s.Highest); err != nil {
		return m, before, err
	}
	return m, before, matches(ctx, i.Manager, d.whole(m), m)
}

// keep makes sure that there is a way back.
func (i *Installer) keep(ctx context.Context, d folder, before Facts) error {
	path := d.kept(before.Format)
	if err := i.Manager.Keep(ctx, before, path); err != nil {
		return fmt.Errorf("a package of what is installed cannot be kept: %w", err)
	}
	kept, err := i.Manager.Describe(ctx, path)
	if err == nil && kept != before {
		err = ErrNotKept
	}
	if err != nil {
		return fmt.Errorf("a package of what is installed cannot be kept: %w", err)
	}
	return durable.SyncDir(i.Dir)
}

// hand has the package manager install a package. While another process has it, that is waited for.
func (i *Installer) hand(ctx context.Context, path string, before Facts) error {
	for try := 1; ; try++ {
		err := i.Manager.Install(ctx, path)
		if err == nil || try == lockTries || !strings.Contains(err.Error(), "lock") {
			return err
		}
		if now, asked := i.Manager.Installed(ctx); asked != nil || now != before {
			return err
		}
		i.Log.Info("another process has the package manager", "error", err)
		clock.Pause(ctx, lockWait)
	}
}

// try has the new program show that it works.
func (i *Installer) try(ctx context.Context, d folder, s *State, m release.Manifest) error {
	now, err := i.Manager.Installed(ctx)
	if err != nil {
		return err
	}
	if want := (Facts{m.Format, m.Package, m.Version, m.Architecture}); now != want {
		return fmt.Errorf("%w: after it, %s %s is installed", ErrContent, now.Package, now.Version)
	}
	if _, err := run(ctx, probeTime, i.Binary, "version"); err != nil {
		return fmt.Errorf("the new program does not start: %w", err)
	}
	if err := i.phase(s, Starting); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, i.Within)
	defer cancel()
	if s.Agent {
		i.nudge(ctx)
	}
	good, missing := 0, ""
	for ctx.Err() == nil {
		if missing = i.missing(ctx, d, s); missing != "" {
			good = 0
		} else if good++; good >= settledLooks { // it did not work for a moment only
			return nil
		}
		clock.Pause(ctx, i.Every)
	}
	return fmt.Errorf("the new program did not show within %s that it works: %s", i.Within, missing)
}

// missing says what the new program has not done yet.
func (i *Installer) missing(ctx context.Context, d folder, s *State) string {
	if b, err := outside.ReadFile(d.ready(), maxState); err != nil || string(b) != s.Attempt {
		return "it has not reached the server"
	}
	if !s.Agent {
		return ""
	}
	pid, err := i.Worker(ctx)
	switch {
	case err != nil:
		return "the agent does not answer: " + err.Error()
	case !sameProgram(strconv.Itoa(pid), i.Binary):
		return "the agent still decides by the program before"
	}
	return ""
}

// nudge has the agent start its worker from the program that is there now, where the script of the package did not: an agent starts one that ends anew.
func (i *Installer) nudge(ctx context.Context) {
	pid, err := i.Worker(ctx)
	if err != nil || pid <= 1 || sameProgram(strconv.Itoa(pid), i.Binary) {
		return
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		i.Log.Warn("have the agent's worker started anew", "error", err)
	}
}

// back installs what was there before.
func (i *Installer) back(ctx context.Context, d folder, s *State, m release.Manifest, why error) error {
	i.Log.Error("an update does not work: the program before comes back", "version", m.Version, "before", s.From, "error", why)
	var failed error
	for range mostTries {
		if failed = i.Manager.Install(ctx, d.kept(m.Format)); failed == nil {
			break
		}
		i.awaitWorker(ctx, s)
	}
	if now, err := i.Manager.Installed(ctx); failed == nil && (err != nil || now.Version != s.From) {
		failed = errors.Join(err, fmt.Errorf("version %s is installed", now.Version))
	}
	if failed != nil {
		return i.end(s, Failed, fmt.Errorf("%w; and the version before could not be brought back, which lies at %s: %w", why, d.kept(m.Format), failed))
	}
	if s.Agent {
		i.nudge(ctx)
	}
	if err := os.Remove(d.whole(m)); err != nil && !errors.Is(err, os.ErrNotExist) {
		i.Log.Warn("clean up after an update", "error", err)
	}
	return i.end(s, RolledBack, why)
}

// awaitWorker waits until the agent decides again, whose worker may have been of the program that does not work: without one, nothing of a
// package starts that is new, as its scripts are. As the program is there before they start, the next try has a worker.
func (i *Installer) awaitWorker(ctx context.Context, s *State) {
	ctx, cancel := context.WithTimeout(ctx, i.Within)
	defer cancel()
	for {
		clock.Pause(ctx, i.Every)
		if !s.Agent || ctx.Err() != nil {
			return
		}
		if _, err := i.Worker(ctx); err == nil {
			return
		}
	}
}

// phase notes a phase, durably, before what it stands for begins.
func (i *Installer) phase(s *State, p Phase) error {
	s.Phase, s.At = p, i.Now().UTC()
	return folder(i.Dir).save(*s)
}

// end notes an end, and sees to it that somebody is there who tells it.
func (i *Installer) end(s *State, p Phase, why error) error {
	s.Error, s.Told = "", false
	if why != nil {
		s.Error = words(why)
	}
	if err := i.phase(s, p); err != nil {
		return errors.Join(why, err)
	}
	i.Log.Info("an update has ended", "state", p, "reason", s.Error)
	return nil
}
