package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	files "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// literals is for how many texts the goals are set.
const literals = 300

// scanWord has this program scan a folder with the catalog of measure, as a process of its own.
const scanWord = "-scan"

// wider is the catalog with so many tokens more that there are as many as the goals are set for.
type wider struct {
	fs.FS
	app string
}

const widerFile = "apps/bench.yaml"

// Open implements fs.FS.
func (w wider) Open(name string) (fs.File, error) {
	if name == widerFile {
		return os.Open(w.app)
	}
	return w.FS.Open(name)
}

// Glob implements fs.GlobFS.
func (w wider) Glob(pattern string) ([]string, error) {
	names, err := fs.Glob(w.FS, pattern)
	return append(names, widerFile), err
}

// widerCatalog writes the further tokens to a file and loads all.
func widerCatalog(app string) (*catalog.Catalog, error) {
	c, err := catalog.Default()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("id: bench\nname: Bench\nsources: [\"made for a measurement, 2026-11\"]\nreview_by: 2099-01-01\nprograms:\n  windows:\n    - exe: bench.exe\n      tokens:\n")
	for i := range max(0, literals-len(c.Tokens())) {
		fmt.Fprintf(&b, "        - \"%s\"\n", word(i))
	}
	if err := os.WriteFile(app, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	return catalog.Load(wider{files.Files, app})
}

// word is a text as tokens are: parts that programs have, in an order that none has.
func word(i int) string {
	parts := []string{"desktop", "chat", "theme", "loft", "relay", "secret", "media", "group", "call", "voice", "sticker", "session", "update", "bridge"}
	return fmt.Sprintf("%s-%s.x%dq%s", parts[i%len(parts)], parts[(i*5+3)%len(parts)], i*7919%9973, parts[(i*11+1)%len(parts)])
}

// scanOnce scans a folder and says nothing: what it costs is measured from outside.
func scanOnce(folder, app string) error {
	c, err := widerCatalog(app)
	if err != nil {
		return err
	}
	f, err := policy.Parse("bench.yaml", []byte("version: 1\nrules:\n  - {id: all, apps: [\"*\"], verdict: block}\n"))
	if err != nil {
		return err
	}
	p, err := policy.Compile(f, policy.Known{})
	if err != nil {
		return err
	}
	s, err := scan.New(scan.Options{Catalog: c, Policy: p})
	if err != nil {
		return err
	}
	_, err = s.Scan(context.Background(), []string{folder}, func(scan.Result) error { return nil })
	if closed := s.Close(); err == nil {
		err = closed
	}
	return err
}
