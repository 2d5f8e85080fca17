package agent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

// mountTable is where the kernel tells what is mounted, and with POLLPRI that this changed. It is no os.File: the runtime would wait at it too, and
// the kernel tells a change of each descriptor but once.
type mountTable int

const ownMounts = "/proc/self/mountinfo"

func openMountTable(path string) (mountTable, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("mounts: %w", err)
	}
	return mountTable(fd), nil
}

func (t mountTable) close() { _ = unix.Close(int(t)) }

// changed waits for some milliseconds at most, and reports whether something was mounted or unmounted since it did so last.
func (t mountTable) changed(wait int) (bool, error) {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(t), Events: unix.POLLPRI}}, wait)
	return n > 0, err
}

// places sees to it that what is known of a file is not taken for one on another file system that has its device number by now. It belongs to one
// goroutine at a time.
type places struct {
	path    string
	table   mountTable
	devices mounts.Devices
}

func newPlaces() (*places, error) { return newPlacesOf(ownMounts) }

func newPlacesOf(path string) (*places, error) {
	table, err := openMountTable(path)
	if err != nil {
		return nil, err
	}
	p := &places{path: path, table: table}
	_, err = p.read()
	return p, err
}

// look returns what tells the device numbers that may stand for another file system since it was called last, nil when there are none. While nothing
// is mounted or unmounted it costs one system call.
func (p *places) look() func(device uint64) bool {
	if changed, err := p.table.changed(0); err == nil && !changed {
		return nil
	}
	gone, err := p.read()
	if err != nil {
		return func(uint64) bool { return true } // who knows
	}
	return gone
}

func (p *places) read() (func(device uint64) bool, error) {
	b, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	return p.devices.Update(mounts.Parse(b)), nil
}
