package holder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

// event is one fanotify_event_metadata (fanotify(7)).
type event struct {
	length uint32
	mask   uint64
	fd     int32
	thread int32
}

const metadataSize = 24

func metadata(b []byte) event {
	e := binary.NativeEndian
	return event{e.Uint32(b), e.Uint64(b[8:]), int32(e.Uint32(b[16:])), int32(e.Uint32(b[20:]))}
}

func put(b []byte, fd, code uint32) {
	binary.NativeEndian.PutUint32(b, fd)
	binary.NativeEndian.PutUint32(b[4:], code)
}

// ignore has the kernel stop asking about one file until its content is modified. The mark does not keep the inode in memory where the
// kernel can do without.
func ignore(fan, fd int, opens bool) error {
	mask := uint64(unix.FAN_OPEN_EXEC_PERM)
	if opens {
		mask = unix.FAN_OPEN_PERM
	}
	const flags = unix.FAN_MARK_ADD | unix.FAN_MARK_IGNORED_MASK
	err := unix.FanotifyMark(fan, flags|unix.FAN_MARK_EVICTABLE, mask, fd, "")
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EEXIST) { // before Linux 5.19, or a lasting mark is there
		err = unix.FanotifyMark(fan, flags, mask, fd, "")
	}
	return err
}

// marks are the file systems that are asked about.
type marks struct {
	fan   int
	table int // /proc/self/mountinfo, which poll tells of changes of
	only  string
	opens bool
	log   *slog.Logger
	seen  map[string]bool // by device: whether it could be marked
}

func newMarks(fan int, only string, opens bool, log *slog.Logger) (*marks, error) {
	table, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	return &marks{fan: fan, table: table, only: strings.TrimSuffix(only, "/"), opens: opens, log: log, seen: map[string]bool{}}, nil
}

func (m *marks) close() { _ = unix.Close(m.table) }

// forget takes back what the kernel was told to ignore.
func (m *marks) forget() {
	if err := unix.FanotifyMark(m.fan, unix.FAN_MARK_FLUSH, 0, unix.AT_FDCWD, ""); err != nil {
		m.log.Warn("forget ignore marks", "error", err.Error())
	}
}

// update marks the file systems that are new in the mount table.
func (m *marks) update() {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		m.log.Warn("mounts", "error", err.Error())
		return
	}
	table := mounts.Parse(b)
	present := map[string]bool{}
	for i := range table {
		present[table[i].Device] = true
		m.mark(&table[i], table)
	}
	for device := range m.seen {
		if !present[device] {
			delete(m.seen, device)
		}
	}
}

func (m *marks) mark(t *mounts.Mount, all []mounts.Mount) {
	if _, seen := m.seen[t.Device]; seen || !mounts.Local(t.Kind) || !m.may(t, all) {
		return
	}
	mask := uint64(unix.FAN_OPEN_EXEC_PERM)
	if m.opens && t.Writable {
		mask |= unix.FAN_OPEN_PERM
	}
	err := unix.FanotifyMark(m.fan, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask, unix.AT_FDCWD, t.Point)
	m.seen[t.Device] = err == nil
	if err != nil {
		m.log.Warn("a file system is not watched", "mount", t.Point, "type", t.Kind, "error", err.Error())
	}
}

// may reports whether a mount may be marked: in tests only those below one folder, and never the file system that the machine runs from.
func (m *marks) may(t *mounts.Mount, all []mounts.Mount) bool {
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
