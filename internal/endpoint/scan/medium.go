package scan

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Medium tells whether the device of a file system is "removable" or "fixed", "" when it has none: network, memory, layers.
func (s *Scanner) Medium(device uint64) string { return s.places.medium(device) }

// Owner returns the name of a user, his number when he has none here.
func (s *Scanner) Owner(uid uint32) string { return s.places.owner(uid) }

// MountsChanged forgets what devices are: another one may have the number of one that is gone.
func (s *Scanner) MountsChanged() {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	clear(s.places.media)
}

// Medium tells the same without a scanner, by the sysfs at sys, "" for the system's.
func Medium(sys string, device uint64) string { return newPlaces(sys).medium(device) }

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
