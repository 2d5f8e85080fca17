//go:build unix

package handle

import (
	"errors"
	"os"
)

func streams(*os.File) ([]Stream, error) { return nil, nil }

func openStream(_ *os.File, _, path string) (*os.File, error) {
	return nil, &os.PathError{Op: "open", Path: path, Err: errors.ErrUnsupported}
}
