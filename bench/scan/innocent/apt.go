package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// pkg is what Debian's index says of a package.
type pkg struct {
	name, source  string
	version, file string
	size          int64
	depends       []string
	dependents    int
}

// available reads the index of what apt can install.
func available(ctx context.Context) (map[string]*pkg, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "dumpavail").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-cache dumpavail: %w", err)
	}
	return index(bytes.NewReader(out))
}

// index reads stanzas of packages, of each the first version that can be downloaded, and counts how many depend on each.
func index(r io.Reader) (map[string]*pkg, error) {
	all := map[string]*pkg{}
	p := &pkg{}
	keep := func() {
		if p.name != "" && p.file != "" && all[p.name] == nil {
			p.source = cmp.Or(p.source, p.name)
			all[p.name] = p
		}
		p = &pkg{}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "":
			keep()
		case "Package":
			p.name = value
		case "Source":
			p.source, _, _ = strings.Cut(value, " ")
		case "Version":
			p.version = value
		case "Filename":
			p.file = value
		case "Size":
			p.size, _ = strconv.ParseInt(value, 10, 64)
		case "Depends":
			p.depends = relations(value)
		}
	}
	keep()
	for _, p := range all {
		for _, d := range p.depends {
			if all[d] != nil {
				all[d].dependents++
			}
		}
	}
	return all, lines.Err()
}

// relations are the names in a Depends field, of alternatives the first.
func relations(field string) []string {
	var out []string
	for part := range strings.SplitSeq(field, ",") {
		if words := strings.Fields(part); len(words) > 0 {
			name, _, _ := strings.Cut(words[0], ":")
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// depended yields the n packages that most others depend on, one of each source.
func depended(all map[string]*pkg, n int) iter.Seq[string] {
	return draw(all, n, func(p *pkg) int64 { return int64(p.dependents) })
}

// largest yields the n largest of the packages that hold compiled programs, one of each source, none above a size.
func largest(all map[string]*pkg, n int, limit int64) iter.Seq[string] {
	return draw(all, n, func(p *pkg) int64 {
		if p.size > limit || !slices.Contains(p.depends, "libc6") {
			return 0
		}
		return p.size
	})
}

// draw yields the n packages of the highest weight above zero, one of each source.
func draw(all map[string]*pkg, n int, weight func(*pkg) int64) iter.Seq[string] {
	order := slices.SortedFunc(maps.Values(all), func(a, b *pkg) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(a.name, b.name))
	})
	return func(yield func(string) bool) {
		taken := map[string]bool{}
		for _, p := range order {
			if len(taken) == n || weight(p) == 0 {
				return
			}
			if taken[p.source] {
				continue
			}
			if taken[p.source] = true; !yield(p.name) {
				return
			}
		}
	}
}

// sources are the sources of packages.
func sources(all map[string]*pkg, list []string) map[string]bool {
	out := map[string]bool{}
	for _, name := range list {
		if p := all[name]; p != nil {
			out[p.source] = true
		}
	}
	return out
}

// installed is the source of the package that a file of this machine belongs to, empty when it is nobody's.
func installed(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-S", path).Output()
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(string(out), ": ")
	name, _, _ = strings.Cut(name, ",")
	if out, err = exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${source:Package}", name).Output(); err != nil {
		return ""
	}
	return string(out)
}
