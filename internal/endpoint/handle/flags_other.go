//go:build unix && !linux

package handle

// noAccessTime is nothing that this system knows.
const noAccessTime = 0
