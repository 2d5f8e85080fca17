package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// TestMain lets scripts call this very program as "chaperone".
func TestMain(m *testing.M) {
	sandbox.Child(os.Args, sandboxParsers())
	testscript.Main(m, map[string]func(){"chaperone": main})
}

// TestScripts runs testdata/script/*.txtar: each is a story told on the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, Setup: func(e *testscript.Env) error {
		// What is too large, or no text, to stand in a script.
		e.Setenv("ESCAPE", "\x1b[31mred")
		line := `{"id":"1","from":"a@example.org","to":["b@example.org"],"text":"x"}` + "\n"
		return errors.Join(os.WriteFile(filepath.Join(e.WorkDir, "long.jsonl"), []byte(line+strings.Repeat("a", tryLimit+1)), 0o600),
			os.WriteFile(filepath.Join(e.WorkDir, "large"), make([]byte, 1<<20), 0o600))
	}})
}
