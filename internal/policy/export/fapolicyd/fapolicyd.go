// Package fapolicyd writes a plan as rules of fapolicyd, the file access policy daemon of Linux (fapolicyd.rules(5)).
package fapolicyd

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// Format is the entry of this format.
func Format() export.Format {
	return export.Format{Name: "fapolicyd", About: "rules of fapolicyd (Linux): /etc/fapolicyd/rules.d/25-chaperone.rules, then fagenrules --load", Holds: export.Holds{Programs: true}, Write: Write, Rules: Rules}
}

// Write writes the rules. A file's content stands first, as it identifies; a path is where a package puts its program, and no proof.
// Only execution is denied, never opening: package managers and scanners must read what is to be removed.
func Write(w io.Writer, p *export.Plan) (left []string, err error) {
	if p.Audit {
		return nil, export.ErrWatched
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# made by chaperone policy export, from policy %s at %s\n", p.Policy, p.Made.UTC().Format(time.RFC3339))
	left = append(hashes(b, p), export.Unknown(p, "Linux", func(a *export.App) bool { return len(places(a)) > 0 })...)
	if p.Removable != nil {
		fmt.Fprintf(b, "# removable media (rule %s)\n", word(p.Removable.Rule))
		for _, dir := range removable() {
			fmt.Fprintf(b, "deny_syslog perm=execute all : dir=%s\n", dir)
		}
	}
	for i := range p.Apps {
		a := &p.Apps[i]
		places := places(a)
		left = append(left, unwritable(a)...)
		if len(places) == 0 {
			continue
		}
		fmt.Fprintf(b, "# %s (rule %s)\n", a.ID, word(a.Rule))
		for _, place := range places {
			fmt.Fprintf(b, "deny_syslog perm=execute all : %s\n", place)
		}
	}
	return append(left, "fapolicyd knows files by place and content, not by publisher or what is in them: a messenger that was copied elsewhere runs unless a scan found it (--found)"), b.Flush()
}

func hashes(b *bufio.Writer, p *export.Plan) (left []string) {
	list, left := export.HashesOf(p, "Linux", "elf", "appimage")
	for _, allow := range []bool{true, false} {
		for _, h := range list {
			if h.Allow != allow {
				continue
			}
			decision := "deny_syslog"
			if allow {
				decision = "allow"
			}
			fmt.Fprintf(b, "# %s (rule %s)\n%s perm=execute all : sha256hash=%s\n", word(h.App), word(h.Rule), decision, h.SHA256)
		}
	}
	return left
}

// Rules returns the rules that deny. The log tells them by the file: its path, and its hash where syslog_format has sha256hash.
func Rules(p *export.Plan) []export.Rule {
	var out []export.Rule
	list, _ := export.HashesOf(p, "Linux", "elf", "appimage")
	for _, h := range list {
		if !h.Allow {
			out = append(out, export.Rule{Key: "sha256hash=" + h.SHA256, App: h.App, Policy: h.Rule})
		}
	}
	if p.Removable != nil {
		for _, dir := range removable() {
			out = append(out, export.Rule{Key: "dir=" + dir, Policy: p.Removable.Rule})
		}
	}
	for i := range p.Apps {
		for _, place := range places(&p.Apps[i]) {
			out = append(out, export.Rule{Key: place, App: p.Apps[i].ID, Policy: p.Apps[i].Rule})
		}
	}
	return out
}

// removable are the folders that removable media are mounted below.
func removable() []string { return []string{"/media/", "/run/media/"} }

// places returns where packages of a messenger have their programs. The daemon compares the path of the file itself, after all symbolic links: the
// name in /usr/bin is the program of some packages, and a link into a folder of its own in those of most vendors.
func places(a *export.App) []string {
	var out []string
	add := func(kind, prefix, name, suffix string) {
		if place := kind + prefix + name + suffix; name == word(name) && !slices.Contains(out, place) {
			out = append(out, place)
		}
	}
	for _, l := range a.Programs.Linux {
		for _, n := range l.Binary {
			add("path=", "/usr/bin/", n, "")
		}
		for _, n := range l.Install {
			switch {
			case !oneWord(n):
			case strings.HasSuffix(n, "/"):
				out = append(out, "dir="+n)
			default:
				out = append(out, "path="+n)
			}
		}
		for _, n := range l.Snap {
			add("dir=", "/snap/", n, "/")
			add("dir=", "/var/lib/snapd/snap/", n, "/")
		}
		for _, n := range l.Flatpak {
			add("dir=", "/var/lib/flatpak/app/", n, "/")
		}
	}
	return out
}

// unwritable says which places of a messenger no rule can name: what stands after a space is another attribute, and there is no way to write one.
func unwritable(a *export.App) (left []string) {
	for _, l := range a.Programs.Linux {
		for _, n := range l.Install {
			if !oneWord(n) {
				left = append(left, fmt.Sprintf("a rule of fapolicyd cannot name a path with a space or a comma: %s of %s is not denied by its place", n, a.ID))
			}
		}
	}
	return left
}

// oneWord tells whether a path stands in a rule as it is.
func oneWord(path string) bool {
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name != word(name) {
			return false
		}
	}
	return true
}

// word returns s as one word that stands in a rule or comment: what could end a line or a field is replaced.
func word(s string) string {
	if s == "" {
		return "file"
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == ',' || r == '%' || r == '#' || r == '/' {
			return '_'
		}
		return r
	}, s)
}
