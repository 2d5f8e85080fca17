package sandbox

import (
	"os"
	"runtime/debug"
)

// confine gives up what the child does not need, as far as macOS knows how to, and says what it could not give up.
func confine(memory uint64) Status {
	s := Status{Landlock: "macOS has no such thing", Seccomp: "macOS has no such thing"}
	debug.SetMemoryLimit(int64(memory / 4 * 3))
	s.Limits = reason(limit(memory))
	if os.Geteuid() == 0 {
		s.User = reason(dropRoot())
	}
	return s
}
