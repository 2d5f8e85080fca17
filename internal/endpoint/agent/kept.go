package agent

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/kept"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/event"
)

// keptEvery is how often what was allowed since is written.
const keptEvery = 2 * time.Second

// systemFolders are on file systems that nobody but root takes away while the machine runs, so that their numbers are nobody else's.
func systemFolders() []string { return []string{"/", "/usr", "/opt"} }

// keptID is what a file is kept under that was allowed: this start of the machine, this generation, this binary.
func (a *Agent) keptID(generation uint64) kept.ID {
	return kept.IDOf(a.boot, generation, a.self)
}

// openKept reads what was allowed before. Without it each program is looked at again once.
func (a *Agent) openKept(generation uint64) {
	folders := a.o.System
	if folders == nil {
		folders = systemFolders()
	}
	a.steady = mounts.Numbers(folders...)
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err == nil {
		a.self = wire.KeyOf(&st)
	}
	if a.boot = boot(); a.boot == noBoot {
		a.boot = fmt.Sprint(event.NewID()) // what is kept is never used
	}
	var err error
	if a.kept, err = kept.Open(filepath.Join(a.o.Dir, "allowed"), a.keptID(generation)); err != nil {
		a.log.Warn("what was allowed before is not known, and looked at again", "error", err.Error())
	}
}

// allowed keeps what was allowed, where it lies on the system.
func (a *Agent) allowed(f judge.Allowed) {
	if slices.Contains(a.steady, f.Key.Dev) {
		a.kept.Add(a.keptID(f.Generation), f.Key)
	}
}
