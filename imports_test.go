// Package chaperone_test holds the rules of the whole module.
package chaperone_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/chaperone-im/chaperone/"

// leaves import nothing of ours and may be imported by all.
var leaves = []string{"internal/clock", "internal/health", "internal/telemetry", "internal/config", "internal/durable", "internal/logfile", "internal/loopback", "internal/mail", "internal/outside", "internal/printable", "internal/shape"}

// rows says, for each package or folder of packages, what of ours it may import besides leaves. A folder covers what lies below it, and the
// longest entry that fits counts. "*" is everything, "!x" is everything but x.
var rows = map[string][]string{
	"catalog":                 {},
	"internal/event":          {},
	"internal/sandbox":        {},
	"internal/seal":           {"internal/event"},
	"internal/identity":       {"internal/event"},
	"internal/catalog":        {"internal/event", "catalog"},
	"internal/policy":         {"internal/event", "internal/identity", "internal/catalog"},
	"internal/program":        {"internal/event", "internal/catalog", "internal/sandbox"},
	"internal/unpack":         {"internal/event", "internal/catalog", "internal/sandbox", "internal/program"},
	"internal/extract":        {"internal/event", "internal/unpack", "internal/sandbox"},
	"internal/inspect":        {"internal/event", "internal/catalog", "internal/program", "internal/unpack", "internal/extract"},
	"internal/journal":        {"internal/event", "internal/seal", "internal/identity"},
	"internal/ledger":         {"internal/event", "internal/seal", "internal/journal"},
	"internal/ledger/verify":  {},
	"internal/archive":        {"internal/event", "internal/seal", "internal/identity", "internal/catalog", "internal/policy", "internal/journal", "internal/ledger", "internal/inspect/fold"},
	"internal/search":         {"internal/event", "internal/identity", "internal/journal", "internal/archive"},
	"internal/retention":      {"internal/event", "internal/seal", "internal/identity", "internal/policy", "internal/journal", "internal/archive", "internal/search"},
	"internal/network":        {"internal/event", "internal/identity", "internal/catalog", "internal/policy", "internal/program", "internal/unpack", "internal/extract", "internal/inspect"},
	"internal/endpoint":       {"internal/event", "internal/identity", "internal/catalog", "internal/policy", "internal/program", "internal/unpack", "internal/extract", "internal/inspect", "internal/sandbox"},
	"internal/conversation":   {"internal/event", "internal/identity", "internal/catalog", "internal/policy", "internal/program", "internal/unpack", "internal/extract", "internal/inspect"},
	"internal/storage/file":   {"internal/event", "internal/journal", "internal/identity", "internal/seal"},
	"internal/storage/object": {"internal/event", "internal/journal", "internal/seal"},
	"internal/storage/sqlite": {"internal/event", "internal/journal", "internal/archive", "internal/search", "internal/retention"},
	"internal/alert":          {"internal/event"},
	"internal/control":        {"!internal/network", "!internal/endpoint", "!internal/conversation", "!internal/storage", "!internal/server", "!internal/console"},
	"internal/console":        {"!internal/network", "!internal/endpoint", "!internal/conversation", "!internal/storage", "!internal/server"},
	"internal/server":         {"*"},
	"docs":                    {},
	"bench":                   {"*"},
	"internal/demo":           {"*"},
	"cmd/chaperone":           {"*"},
	"cmd/chaperone-verify":    {"internal/ledger/verify"},
	"cmd/chaperone-demo":      {"*"},
}

// TestImportDirections holds the layout: a package imports only what its row names.
func TestImportDirections(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "tools/") {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir == "." || strings.HasSuffix(dir, "test") {
			return nil // test support may reach further
		}
		row, ok := rowOf(dir)
		if !ok {
			t.Errorf("%s is in no row of the layout", dir)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			ours, ok := strings.CutPrefix(imported, module)
			if ok && !allowed(dir, row, ours) {
				t.Errorf("%s imports %s, which its row does not name", path, ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func rowOf(dir string) ([]string, bool) {
	for d := dir; d != "."; d = filepath.ToSlash(filepath.Dir(d)) {
		if row, ok := rows[d]; ok {
			return row, true
		}
	}
	return nil, slices.Contains(leaves, dir)
}

func allowed(dir string, row []string, imported string) bool {
	within := func(prefix string) bool { return imported == prefix || strings.HasPrefix(imported, prefix+"/") }
	if slices.Contains(leaves, imported) || strings.HasPrefix(imported, top(dir)+"/") || imported == top(dir) {
		return !planes(dir, imported)
	}
	deny := false
	for _, r := range row {
		if r == "*" || within(r) {
			return true
		}
		if no, ok := strings.CutPrefix(r, "!"); ok {
			deny = true
			if within(no) {
				return false
			}
		}
	}
	return deny
}

// top is the folder whose packages may import each other.
func top(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	if len(parts) < 2 || parts[1] == "storage" || parts[1] == "ledger" {
		return dir
	}
	return parts[0] + "/" + parts[1]
}

// planes reports whether one plane imports another.
func planes(from, to string) bool {
	all := []string{"internal/network", "internal/endpoint", "internal/conversation"}
	return slices.Contains(all, top(from)) && slices.Contains(all, top(to)) && top(from) != top(to)
}
