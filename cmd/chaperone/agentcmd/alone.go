package agentcmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
)

// alone keeps a second agent from working with the same folder or socket, until release is called or this process ends.
func alone(dir, door string) (release func(), err error) {
	var locks []*os.File
	release = func() {
		for _, f := range locks {
			_ = f.Close()
		}
	}
	for _, path := range []string{filepath.Join(dir, "lock"), door + ".lock"} {
		f, err := lock(path)
		if err != nil {
			release()
			return nil, err
		}
		locks = append(locks, f)
	}
	return release, nil
}

func lock(path string) (*os.File, error) {
	mode := os.FileMode(0o700)
	if filepath.Base(path) != "lock" {
		mode = 0o755 // where people come to the socket
	}
	if err := os.MkdirAll(filepath.Dir(path), mode); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = hint.New(fmt.Errorf("another agent works here: %s is locked", path), "chaperone agent status asks it; one beside it needs its own --data and --socket")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
