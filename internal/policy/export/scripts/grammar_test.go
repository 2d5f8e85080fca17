package scripts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/policy/export/scripts"
)

// TestAForeignGrammarReadsTheScripts has a grammar of PowerShell that others wrote read each script, with names made to break out of quotes;
// what is no script is refused by it. No PowerShell runs here.
// Node is not to optimise the parser, which takes it longer than all else.
func TestAForeignGrammarReadsTheScripts(t *testing.T) {
	folder := os.Getenv("CHAPERONE_POWERSHELL_GRAMMAR")
	if folder == "" {
		t.Skip("CHAPERONE_POWERSHELL_GRAMMAR names no node_modules: npm install tree-sitter-powershell@0.26.4 web-tree-sitter@0.27.2 makes one")
	}
	parse := func(name, text string) (string, error) {
		file := filepath.Join(t.TempDir(), name+".ps1")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		said, err := exec.CommandContext(ctx, "node", "--liftoff-only", "testdata/parse.mjs", folder, file).CombinedOutput()
		return string(said), err
	}
	for _, f := range scripts.Formats() {
		text, _ := write(t, f, plan())
		if said, err := parse("script", text); err != nil {
			t.Errorf("%s: %v\n%s", f.Name, err, said)
		}
	}
	if said, err := parse("broken", "if ($x { 'y' }\n"); err == nil || said == "" {
		t.Error("what is no script is taken for one")
	}
}
