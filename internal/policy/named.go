package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Naming says whether the groups of a policy name a machine or a person.
type Naming struct {
	Matches bool   // a group names it, by its name or by a pattern
	Any     bool   // there are groups that name any
	Hint    string // what the groups name that comes near, or else what they name; "" where they name none
}

// maxNamed bounds how many names a hint lists.
const maxNamed = 5

// NamesHost says whether the groups of the policy name a machine.
func (p *Policy) NamesHost(name string) Naming {
	return naming(name, p.File(), func(g *Group) List { return g.Hosts })
}

// NamesPerson says whether the groups of the policy name a person.
func (p *Policy) NamesPerson(name string) Naming {
	return naming(name, p.File(), func(g *Group) List { return g.People })
}

func naming(name string, f *File, of func(*Group) List) Naming {
	var n Naming
	var all []string
	for _, id := range sortedKeys(f.Groups) {
		g := f.Groups[id]
		for _, pattern := range of(&g) {
			all = append(all, pattern)
			n.Matches = n.Matches || newGlob(pattern).match(name)
		}
	}
	if n.Any = len(all) > 0; !n.Any {
		return n
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if n.Hint = didYouMean(name, all); n.Hint == "" {
		n.Hint = "the policy names " + strings.Join(all[:min(len(all), maxNamed)], ", ")
		if more := len(all) - maxNamed; more > 0 {
			n.Hint += fmt.Sprintf(" and %d more", more)
		}
	}
	return n
}
