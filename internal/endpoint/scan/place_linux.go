package scan

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func (p *places) look(device uint64) string {
	dir := p.folder(device)
	if dir == "" { // file systems such as btrfs number themselves: the mount table names the device
		dir = p.folder(p.mounted(device))
	}
	switch {
	case dir == "":
		return ""
	case p.removable(dir, 0):
		return mediaRemovable
	}
	return mediaFixed
}

// folder returns the folder of a block device in sysfs, free of links, "" when there is none.
func (p *places) folder(device uint64) string {
	if device == 0 {
		return ""
	}
	number := strconv.FormatUint(uint64(unix.Major(device)), 10) + ":" + strconv.FormatUint(uint64(unix.Minor(device)), 10)
	if dir, err := filepath.EvalSymlinks(filepath.Join(p.sys, "dev/block", number)); err == nil {
		return dir
	}
	for _, pattern := range []string{"block/*/dev", "block/*/*/dev"} { // devices and partitions
		found, _ := filepath.Glob(filepath.Join(p.sys, pattern)) // the patterns are good
		for _, f := range found {
			if read(f) != number {
				continue
			}
			if dir, err := filepath.EvalSymlinks(filepath.Dir(f)); err == nil {
				return dir
			}
		}
	}
	return ""
}

// maxLayers bounds devices on devices, as encryption and volumes put them.
const maxLayers = 8

// removable reports whether the device, the disk that a partition is on, or a device below it may be carried away: it says so, it hangs on
// USB (where disks call themselves fixed), or it is a memory card.
func (p *places) removable(dir string, layer int) bool {
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		dir = filepath.Dir(dir)
	}
	if read(filepath.Join(dir, "removable")) == "1" || read(filepath.Join(dir, "device/type")) == "SD" || onUSB(dir) {
		return true
	}
	below, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil || layer == maxLayers {
		return false
	}
	for _, b := range below {
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "slaves", b.Name())); err == nil && p.removable(real, layer+1) {
			return true
		}
	}
	return false
}

// onUSB looks for a USB bus among the folders above the device.
func onUSB(dir string) bool {
	for part := range strings.SplitSeq(dir, "/") {
		if n, ok := strings.CutPrefix(part, "usb"); ok && n != "" && strings.Trim(n, "0123456789") == "" {
			return true
		}
	}
	return false
}

// mounted returns the number of the block device that a file system is mounted from, 0 when it has none.
func (p *places) mounted(device uint64) uint64 {
	f, err := os.Open(p.mounts)
	if err != nil {
		return 0
	}
	defer f.Close()
	source := mountSource(f, device)
	var st unix.Stat_t
	if source == "" || unix.Stat(source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0
	}
	return uint64(st.Rdev)
}

// mountSource finds the source of a file system in a mount table (proc(5), mountinfo), when it is a path.
func mountSource(r io.Reader, device uint64) string {
	number := strconv.FormatUint(uint64(unix.Major(device)), 10) + ":" + strconv.FormatUint(uint64(unix.Minor(device)), 10)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 2 && fields[2] == number && len(source) > 1 && strings.HasPrefix(source[1], "/") {
			return source[1]
		}
	}
	return ""
}

// read returns a short file of sysfs, "" when it is not there.
func read(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 64)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return ""
	}
	return strings.TrimSpace(string(b[:n]))
}

// Steady reports whether the files on a device change only through its file system: not so for removable media, and for images in files that
// others than root may write.
func (s *Scanner) Steady(device uint64) bool {
	if s.Medium(device) == mediaRemovable {
		return false
	}
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	dir := s.places.folder(device)
	if dir == "" {
		dir = s.places.folder(s.places.mounted(device))
	}
	return dir == "" || s.places.steady(dir, 0)
}

func (p *places) steady(dir string, layer int) bool {
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		dir = filepath.Dir(dir)
	}
	if file, err := os.ReadFile(filepath.Join(dir, "loop/backing_file")); err == nil {
		var st unix.Stat_t
		path := strings.TrimSuffix(string(file), "\n")
		return unix.Lstat(path, &st) == nil && st.Uid == 0 && st.Mode&0o022 == 0
	}
	below, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil {
		return true
	}
	for _, b := range below {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "slaves", b.Name()))
		if err != nil || layer == maxLayers || !p.steady(real, layer+1) {
			return false
		}
	}
	return true
}
