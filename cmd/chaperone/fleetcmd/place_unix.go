//go:build unix

package fleetcmd

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// statePlace is where the state lies.
func statePlace(named string) string { return named }

// alsoScanned is what is scanned where these paths are.
func alsoScanned(paths []string) []string { return paths }

// lock takes a lock that ends with the process.
func lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
