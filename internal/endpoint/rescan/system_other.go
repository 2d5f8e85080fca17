//go:build !linux

package rescan

// Trusted says that this system tells when a file has changed in a way that its users cannot set: on Windows they can, and nobody has proven it
// for the file systems of the others.
const Trusted = false

const noFollow = 0

// private is not asked where nothing is remembered.
func private(string) error { return ErrUntrusted }
