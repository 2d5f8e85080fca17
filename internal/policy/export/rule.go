package export

import "strings"

// Rule is one rule of a written plan, as the log of its enforcer tells it from the others.
type Rule struct {
	Key    string // what the log says of it
	App    string // "" when policy names the file, or the medium, itself
	Policy string // rule of the policy
}

// Fired reports whether a log that says key says that the rule fired: the same, or a file below the folder of the rule, or what the log cannot
// tell more precisely. A key of fapolicyd is the hash, where the log has it, and the path.
func (r Rule) Fired(key string) bool {
	if sum, rest, ok := strings.Cut(key, " path="); ok && strings.HasPrefix(sum, "sha256hash=") {
		return r.Fired(sum) || r.Fired("path="+rest)
	}
	if dir, ok := strings.CutPrefix(r.Key, "dir="); ok {
		return strings.HasPrefix(key, "path="+dir)
	}
	return key != "" && (key == r.Key || strings.HasPrefix(key, "SIGNINGID:") && strings.HasPrefix(r.Key, key+":"))
}
