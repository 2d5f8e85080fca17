package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Programs that Debian does not have are named with the registry that they come from: go:PACKAGE@VERSION is built, npm:PACKAGE@VERSION is
// installed with what it needs.
const (
	fromGo  = "go:"
	fromNPM = "npm:"
)

// fetchTime is how long the programs of one sample may take to come.
const fetchTime = 20 * time.Minute

// fetch brings the programs that are named so into the folder: commands of Go into it, packages of npm below node_modules.
func fetch(ctx context.Context, dir string, spoken []string) error {
	ctx, stop := context.WithTimeout(ctx, fetchTime)
	defer stop()
	for _, name := range spoken {
		var c *exec.Cmd
		if what, ok := strings.CutPrefix(name, fromGo); ok {
			c = exec.CommandContext(ctx, "go", "install", "-trimpath", what)
			c.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
		} else if what, ok := strings.CutPrefix(name, fromNPM); ok {
			c = exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, what)
		} else {
			continue
		}
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-2000):])
		}
	}
	return nil
}

// fetched tells a program's name and version, where its name says them.
func fetched(name string) (string, bool) {
	what, ok := strings.CutPrefix(name, fromGo)
	if !ok {
		what, ok = strings.CutPrefix(name, fromNPM)
	}
	at := strings.LastIndexByte(what, '@')
	if !ok || at <= 0 {
		return "", false
	}
	return what[:at] + " " + what[at+1:], true
}

// program is the path of a fetched command.
func (w *wire) program(name string) string { return filepath.Join(w.programs, name) }

// module is the path of a file of a fetched npm package.
func (w *wire) module(path string) string { return filepath.Join(w.programs, "node_modules", path) }
