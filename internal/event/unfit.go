package event

import "errors"

// ErrUnfit says that an event can be no record, today or ever: it is too large, or has no canonical form. Any other error of a Recorder is the
// recorder's, and may pass.
var ErrUnfit = errors.New("the event can be no record")

// Unfit makes an error one that is ErrUnfit too, in its own words.
func Unfit(err error) error {
	if err == nil {
		return nil
	}
	return unfit{err}
}

type unfit struct{ error }

// Is makes it ErrUnfit.
func (u unfit) Is(target error) bool { return target == ErrUnfit }

// Unwrap returns the error itself.
func (u unfit) Unwrap() error { return u.error }
