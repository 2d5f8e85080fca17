package policy

import (
	"bytes"
	"slices"
)

// Source returns the text of the file, byte for byte.
func (f *File) Source() []byte { return bytes.Clone(f.source) }

// Before returns a file with rules before those of this one: exceptions granted for one machine. Their text is what tells its version from
// that of the file alone, since exceptions are a new version of the policy (law 2). Mistakes found in it have no place.
func (f *File) Before(text []byte, rules ...Rule) *File {
	out := *f
	out.Rules = append(slices.Clone(rules), f.Rules...)
	out.source = slices.Concat(f.source, []byte("\x00before\x00"), text)
	out.places = &places{}
	return &out
}
