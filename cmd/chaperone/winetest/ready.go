package winetest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Ready returns a prefix with our binary as C:\chaperone.exe. The test is skipped unless CHAPERONE_WINE is set, as `make wine` does, which needs
// Wine: a prefix and the binary take a minute to make.
func Ready(t *testing.T) *Prefix {
	t.Helper()
	if os.Getenv("CHAPERONE_WINE") == "" {
		t.Skip("CHAPERONE_WINE is not set: make wine runs this")
	}
	p, err := New(filepath.Join(t.TempDir(), "prefix"))
	if err != nil {
		t.Fatal("Wine, which CHAPERONE_WINE asks for:", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Log("end Wine:", err)
		}
	})
	build := exec.Command("go", "build", "-o", p.Path(`C:\chaperone.exe`), "github.com/chaperone-im/chaperone/cmd/chaperone")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return p
}

// Chaperone runs our binary and checks its exit status.
func (p *Prefix) Chaperone(t *testing.T, status int, args ...string) string {
	t.Helper()
	out, err := p.Output(append([]string{`C:\chaperone.exe`}, args...)...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	if err != nil || got != status {
		t.Fatalf("%q: %v, status %d instead of %d\n%s", args, err, got, status, out)
	}
	return out
}
