package export

import (
	"fmt"
	"slices"
	"strings"
)

// Elsewhere says which parts of a plan a format is not for, so that nobody takes its file for the whole policy.
func (f *Format) Elsewhere(p *Plan) []string {
	var out []string
	say := func(held bool, n int, what string) {
		if !held && n > 0 {
			out = append(out, fmt.Sprintf("not in this file: %d %s; another format holds them", n, what))
		}
	}
	programs := len(p.Apps) + len(p.Hashes)
	if p.Removable != nil {
		programs++
	}
	say(f.Holds.Programs, programs, "rules for programs")
	say(f.Holds.Names, len(p.Names), "names that browsers are not to open")
	say(f.Holds.Clients, len(p.Clients), "clients that are set")
	return out
}

// Unknown says of which messengers nothing is known that a format for one system could use.
func Unknown(p *Plan, system string, known func(a *App) bool) []string {
	var ids []string
	for i := range p.Apps {
		if !known(&p.Apps[i]) {
			ids = append(ids, p.Apps[i].ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return []string{"the catalog knows no program for " + system + " that this format can name of: " + strings.Join(ids, ", ")}
}

// ofSystem tells whether a file can be a program of a system by its format; one of no known format can be anything.
func ofSystem(h *Hash, formats []string) bool {
	return h.Format == "" || slices.Contains(formats, h.Format)
}

// HashesOf returns the files that can be programs of a system, and says how many are not.
func HashesOf(p *Plan, system string, formats ...string) (hashes []Hash, left []string) {
	others := 0
	for i := range p.Hashes {
		if ofSystem(&p.Hashes[i], formats) {
			hashes = append(hashes, p.Hashes[i])
		} else {
			others++
		}
	}
	if others > 0 {
		left = []string{fmt.Sprintf("%d files that were found are no programs of %s", others, system)}
	}
	return hashes, left
}
