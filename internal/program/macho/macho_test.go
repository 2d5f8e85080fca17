package macho

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

func signed(identifier, team string) []byte { return programtest.MachO(identifier, team) }

// fat wraps it into a universal binary.
func fat(thin []byte) []byte {
	const at = 4096
	var b []byte
	for _, v := range []uint32{0xcafebabe, 1, 0x0100000c, 0, at, uint32(len(thin)), 12} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return append(append(b, make([]byte, at-len(b))...), thin...)
}

func TestSignature(t *testing.T) {
	thin := signed("ru.keepcoder.Telegram", "6N38VWS5BX")
	for name, data := range map[string][]byte{"thin": thin, "universal": fat(thin)} {
		id, err := Parse(data)
		if err != nil || id.Bundle != "ru.keepcoder.Telegram" || id.Team != "6N38VWS5BX" || id.Kind != program.Client {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		for n := range len(data) {
			_, _ = Parse(data[:n]) // must not fail hard
		}
	}
	if _, err := Parse(thin[:60]); err == nil {
		t.Error("a cut signature was read")
	}
}

// TestRealProgram reads a program that the Go linker made and signed for itself.
func TestRealProgram(t *testing.T) {
	if os.Getenv("CHAPERONE_CI") != "1" {
		t.Skip("builds the standard library for macOS, which takes half a minute: set CHAPERONE_CI=1")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", "x", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cannot build for macOS here: %v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := Parse(data)
	if err != nil || !strings.Contains(id.Bundle, "a.out") || id.Team != "" {
		t.Errorf("%+v, %v", id, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(signed("a.b", "TEAM"))
	f.Add(fat(signed("a.b", "TEAM")))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Parse(b) // must end, whatever it says
	})
}
