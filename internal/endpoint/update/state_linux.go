package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// State is what a machine remembers of updates.
type State struct {
	Highest string    `json:"highest,omitempty"` // the highest version that was ever begun with
	Release string    `json:"release,omitempty"` // id of the release at hand
	Note    []byte    `json:"note,omitempty"`
	Phase   Phase     `json:"phase,omitempty"`
	Error   string    `json:"error,omitempty"`
	At      time.Time `json:"at,omitzero"`       // of the phase
	From    string    `json:"from,omitempty"`    // version before
	Attempt string    `json:"attempt,omitempty"` // random, of the one that the new program has to answer
	Tries   int       `json:"tries,omitempty"`
	Agent   bool      `json:"agent,omitempty"`   // an agent decided before
	Told    bool      `json:"told,omitempty"`    // the end is on record
	Client  []string  `json:"client,omitempty"`  // the command that the fleet's client is
	Refused string    `json:"refused,omitempty"` // id of what was refused last
	Why     string    `json:"why,omitempty"`
}

// manifest is that of the release at hand, which is proven anew each time.
func (s *State) manifest(key string) (release.Manifest, error) { return release.Open(s.Note, key) }

// folder is where state and packages lie.
type folder string

func (d folder) state() string { return filepath.Join(string(d), "state.json") }
func (d folder) ready() string { return filepath.Join(string(d), "ready") }
func (d folder) part(m release.Manifest) string {
	return filepath.Join(string(d), m.SHA256+".part")
}

func (d folder) whole(m release.Manifest) string {
	return filepath.Join(string(d), m.SHA256+"."+m.Format)
}

// kept is the package of what was installed before, to go back to.
func (d folder) kept(format string) string { return filepath.Join(string(d), "before."+format) }

// maxState bounds the state file.
const maxState = 64 << 10

func (d folder) load() (State, error) {
	var s State
	b, err := outside.ReadFile(d.state(), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("state of updates: %w", err)
	}
	return s, nil
}

func (d folder) save(s State) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = durable.Replace(d.state(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("state of updates: %w", err)
	}
	return nil
}

// make makes the folder root's alone.
func (d folder) make() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("folder of updates: %w", err)
	}
	return os.Chmod(string(d), 0o700)
}

// sweep removes packages other than that of m, and never the one to go back to.
func (d folder) sweep(m release.Manifest) error {
	list, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	for _, f := range list {
		name := f.Name()
		sum, _, _ := strings.Cut(name, ".")
		if len(sum) == 64 && sum != m.SHA256 || strings.HasPrefix(name, ".making-") {
			if err := os.RemoveAll(filepath.Join(string(d), name)); err != nil {
				return err
			}
		}
	}
	return nil
}

var errLocked = errors.New("an update is being installed")

// lock is the Installer's, or that of whoever changes the state while there is none.
func (d folder) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(string(d), "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errLocked, f.Close())
	}
	return f, nil
}

// room is how many bytes fit on the file system of a folder.
func room(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// sameProgram reports whether a process runs the file at path, and not one that was there before.
func sameProgram(process, path string) bool {
	a, err := os.Stat(filepath.Join("/proc", process, "exe"))
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// newer refuses a version that is not higher than what is installed, and than all that ever was.
func newer(isNewer func(a, b string) (bool, error), version, installed, highest string) error {
	for _, c := range []struct{ version, words string }{{installed, "is installed"}, {highest, "this machine had before"}} {
		if c.version == "" {
			continue
		}
		higher, err := isNewer(version, c.version)
		if err != nil {
			return err
		}
		if !higher {
			return fmt.Errorf("%w: version %s, and %s %s", ErrNotNewer, version, c.version, c.words)
		}
	}
	return nil
}
