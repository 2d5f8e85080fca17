// Package hint gives errors of the command line a word on what to do next.
package hint

import "errors"

type hinted struct {
	error
	text string
}

// Unwrap returns the error without its hint.
func (h hinted) Unwrap() error { return h.error }

// New returns err with a hint, which is said below it.
func New(err error, text string) error { return hinted{err, text} }

// Of returns the outermost hint of an error, "" when it has none.
func Of(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.text
	}
	return ""
}
