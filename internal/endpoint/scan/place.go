package scan

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// What event.Program.Media says.
const (
	mediaRemovable = "removable"
	mediaFixed     = "fixed"
)

// places tells where files lie and whose they are. It asks the system once for each device and each user.
type places struct {
	sys    string // where sysfs is
	mounts string // the mount table of this process

	mu     sync.Mutex
	media  map[uint64]string
	owners map[uint32]string
}

func newPlaces(sys string) *places {
	if sys == "" {
		sys = "/sys"
	}
	return &places{sys: sys, mounts: "/proc/self/mountinfo", media: map[uint64]string{}, owners: map[uint32]string{}}
}

// owner returns the name of a user, his number when he has none here.
func (p *places) owner(uid uint32) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, ok := p.owners[uid]
	if !ok {
		name = strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		p.owners[uid] = name
	}
	return name
}

// medium returns whether the device of a file system is removable or fixed, "" when it has none: network, memory, layers.
func (p *places) medium(device uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.media[device]
	if !ok {
		m = p.look(device)
		p.media[device] = m
	}
	return m
}

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
