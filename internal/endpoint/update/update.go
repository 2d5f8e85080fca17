// Package update replaces this program on a machine of a fleet by a newer package of it, when whoever holds the release key signed that package.
//
// The server has no say: it hands a note and the bytes of a package on. What is taken is decided by the key that the machine's own configuration
// names, by the package that is installed, and by what was ever installed here; without a key nothing is. Updater belongs to the process that has the
// stream: it proves the note, gets the package in pieces, proves that, and has an Installer started, which is a process of its own and outlives it.
// The Installer proves all of it again, keeps a package of what is installed, has the system's package manager install the new one, and waits until
// the new program has reached the server and, where an agent decided before, decides again. If not, it installs the old one.
//
// The two share one folder, which root alone may enter. Its state file is written by the Installer while that holds the lock, and by the Updater else.
// A version that was once begun with is never taken again, nor a lower one, so that an old signed package is worth nothing to whoever has it.
package update

import (
	"errors"
	"time"
)

// Phase says how far an update is.
type Phase string

// The phases. Those after Starting are ends.
const (
	Fetching   Phase = "fetching"
	Waiting    Phase = "waiting"    // it could not be fetched for now, as when the disk is full
	Fetched    Phase = "fetched"    // proven, and nothing is changed
	Installing Phase = "installing" // the package manager works
	Starting   Phase = "starting"   // the new program is to show that it works
	Installed  Phase = "installed"
	RolledBack Phase = "rolled back"
	Failed     Phase = "failed" // nothing was changed, or what was installed could not be brought back: see the error
)

// ended reports whether nothing more comes of an update.
func (p Phase) ended() bool { return p == Installed || p == RolledBack || p == Failed }

// Busy reports whether an Installer is at it, or is to be.
func (p Phase) Busy() bool { return p == Fetched || p == Installing || p == Starting }

// running reports whether the program that is installed is to run, of which it is known that it starts.
func (p Phase) running() bool { return p == Starting || p == Installed || p == RolledBack }

// Names of acts.
const (
	ActOffered    = "agent.update.offer"
	ActInstalled  = "agent.update.install"
	ActRolledBack = "agent.update.rollback"
	ActFailed     = "agent.update.fail"
)

// Binary is where packages put this program.
const Binary = "/usr/bin/chaperone"

// Within is how long a new program may take to show that it works.
const Within = 2 * time.Minute

// Reasons to refuse a release that the right key signed.
var (
	ErrOther    = errors.New("for other machines")
	ErrNotNewer = errors.New("not newer")
	ErrContent  = errors.New("the package is not what its note says")
)
