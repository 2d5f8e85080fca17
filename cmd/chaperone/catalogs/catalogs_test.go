package catalogs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/catalogs"
	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
)

func call(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var cli struct {
		Catalog catalogs.Command `cmd:""`
	}
	var o, e bytes.Buffer
	status = command.Run(&cli, append([]string{"catalog"}, args...), &command.Env{Ctx: t.Context(), In: strings.NewReader(""), Out: &o, ErrOut: &e})
	return status, o.String(), e.String()
}

func TestShow(t *testing.T) {
	if status, out, _ := call(t, "show", "telegram", "--json"); status != 0 || !strings.Contains(out, `"id":"telegram"`) {
		t.Errorf("status %d: %s", status, out)
	}
	if status, _, errOut := call(t, "show", "telegramm"); status != 2 || !strings.Contains(errOut, "hint: chaperone catalog show lists them") {
		t.Errorf("status %d: %s", status, errOut)
	}
}

func TestKeygenWritesOverNothing(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if status, out, errOut := call(t, "keygen", "-o", key, "catalog.example.org"); status != 0 || !strings.Contains(out, "catalog.example.org+") {
		t.Fatalf("status %d: %s%s", status, out, errOut)
	}
	if status, _, errOut := call(t, "keygen", "-o", key, "catalog.example.org"); status != 2 || !strings.Contains(errOut, "exist") {
		t.Errorf("a key is written over: status %d: %s", status, errOut)
	}
}

func TestDiffWithTheSameCatalog(t *testing.T) {
	if status, out, errOut := call(t, "diff", filepath.Join("..", "..", "..", "catalog")); status != 0 {
		t.Errorf("status %d: %s%s", status, out, errOut)
	}
}

func TestDiffTakesNoBundleNobodyVouchesFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(file, []byte("no bundle"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errOut := call(t, "diff", file); status != 2 || !strings.Contains(errOut, "--trust VERIFIER") {
		t.Errorf("status %d: %s", status, errOut)
	}
}
