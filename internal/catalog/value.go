package catalog

import "strings"

// Holds reports whether a value that a decoder saw is what a traffic signature asks for: equal to it, or, when it ends in *, begins with
// what stands before the *. An empty want asks only that there is a value.
func Holds(want, value string) bool {
	if prefix, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(value, prefix)
	}
	if want == "" {
		return value != ""
	}
	return want == value
}
