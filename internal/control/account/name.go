package account

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/chaperone-im/chaperone/internal/printable"
)

// users begins the names in acts of users of the machine that have no account.
const users = "uid:"

// System is the name in acts of the machine's own root, which has no account.
const System = users + "0"

// ErrName says that a name would mislead whoever reads it in an act.
var ErrName = errors.New("no name for an account")

// checkName refuses names that mislead: those of the system's users, and what does not look like what it is.
func checkName(name string) error {
	refuse := func(why string) error { return fmt.Errorf("%q is %w: %s", name, ErrName, why) }
	lower := strings.ToLower(name)
	switch {
	case name == "" || len(name) > 64:
		return refuse("it has 1 to 64 characters")
	case lower == "root" || strings.HasPrefix(lower, users):
		return refuse("users of this machine go by it in acts")
	case printable.Line(name) != name || strings.ContainsFunc(name, unseen):
		return refuse("it has only letters, digits, single spaces within and ._-@+'")
	case strings.TrimSpace(name) != name || strings.Contains(name, "  "):
		return refuse("spaces at its ends or side by side are not seen")
	case !norm.NFKC.IsNormalString(name):
		return refuse("another spelling looks the same (it is not in Unicode's normal form NFKC)")
	case mixed(name):
		return refuse("letters of several scripts look alike")
	}
	return nil
}

// unseen reports what a name may not have: what is not seen, and what is neither letter nor digit nor usual in names.
func unseen(r rune) bool {
	return unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !strings.ContainsRune(" ._-@+'", r)
}

// mixed reports whether a name has letters of two of the scripts whose letters look alike.
func mixed(name string) bool {
	seen := 0
	for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee} {
		if strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(script, r) }) {
			seen++
		}
	}
	return seen > 1
}
