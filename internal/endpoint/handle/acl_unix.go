//go:build unix

package handle

import "os"

// Private makes a folder that only its owner enters, if there is none.
func Private(path string) error { return os.MkdirAll(path, 0o700) }
