package fanotify

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

// Marks are the file systems that a group is asked about: all that are on this machine.
type Marks struct {
	Table int // /proc/self/mountinfo: poll tells with POLLPRI of changes of

	group *Group
	only  string
	opens bool
	said  map[string]struct{} // devices that could not be marked
	known mounts.Devices
}

// NewMarks returns marks of a group. With opens the group is also asked about files that are opened on file systems that can be written. With
// only, nothing but file systems mounted at or below that folder is marked, and never that of "/".
func NewMarks(g *Group, only string, opens bool) (*Marks, error) {
	table, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	return &Marks{Table: table, group: g, only: strings.TrimSuffix(only, "/"), opens: opens, said: map[string]struct{}{}}, nil
}

// Close gives the mount table back.
func (m *Marks) Close() error { return unix.Close(m.Table) }

// Update marks every file system of the mount table, also those that are marked: in the place of one that was unmounted there may be another
// with the same device number. It returns what tells which numbers may stand for another by now, nil where none does. The error says which
// could not be marked; it says so once for each.
func (m *Marks) Update() (gone func(device uint64) bool, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	table := mounts.Parse(b)
	done := map[string]bool{}
	var errs []error
	for i := range table {
		t := &table[i]
		if done[t.Device] || !mounts.Local(t.Kind) || !m.may(t, table) {
			continue
		}
		done[t.Device] = true
		err := m.mark(t)
		if _, said := m.said[t.Device]; err != nil && !said {
			m.said[t.Device] = struct{}{}
			errs = append(errs, fmt.Errorf("%s (%s) is not watched: %w", t.Point, t.Kind, err))
		}
		if err == nil {
			delete(m.said, t.Device)
		}
	}
	return m.known.Update(table), errors.Join(errs...)
}

func (m *Marks) mark(t *mounts.Mount) error {
	mask := uint64(unix.FAN_OPEN_EXEC_PERM)
	if m.opens && t.Writable {
		mask |= unix.FAN_OPEN_PERM
	}
	return unix.FanotifyMark(m.group.FD, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask, unix.AT_FDCWD, t.Point)
}

// may reports whether a mount may be marked.
func (m *Marks) may(t *mounts.Mount, all []mounts.Mount) bool {
	if m.only == "" {
		return true
	}
	for i := range all {
		if all[i].Point == "/" && all[i].Device == t.Device {
			return false
		}
	}
	return t.Point == m.only || strings.HasPrefix(t.Point, m.only+"/")
}
