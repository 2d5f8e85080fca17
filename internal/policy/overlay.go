package policy

import (
	"bytes"
	"maps"
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

// Joined returns the file for a machine that is in these groups, whatever they name: who stands behind a machine is known where the table of people is,
// and not on the machine.
func (f *File) Joined(groups []string) *File {
	out := *f
	out.Groups = maps.Clone(f.Groups)
	for _, name := range groups {
		if g, ok := out.Groups[name]; ok {
			g.Hosts = append(slices.Clone(g.Hosts), "*")
			out.Groups[name] = g
		}
	}
	return &out
}
