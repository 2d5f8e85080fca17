package scan

// Medium tells whether the device of a file system is "removable" or "fixed", "" when it has none: network, memory, layers.
func (s *Scanner) Medium(device uint64) string { return s.places.medium(device) }

// Owner returns the name of a user of a Unix, his number when he has none here.
func (s *Scanner) Owner(uid uint32) string { return s.places.owner(uid) }

// MountsChanged forgets what devices are: another one may have the number of one that is gone.
func (s *Scanner) MountsChanged() {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	clear(s.places.media)
}

// Medium tells the same without a scanner, by the sysfs at sys, "" for the system's.
func Medium(sys string, device uint64) string { return newPlaces(sys).medium(device) }
