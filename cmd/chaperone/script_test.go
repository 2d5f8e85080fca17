package main

import (
	"os"
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
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}
