package macho

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program"
)

// signed makes a Mach-O file (64 bits, little endian) that holds nothing but a signature with the two texts.
func signed(identifier, team string) []byte {
	const directorySize = 52
	directory := binary.BigEndian.AppendUint32(nil, magicDirectory)
	texts := identifier + "\x00" + team + "\x00"
	directory = binary.BigEndian.AppendUint32(directory, uint32(directorySize+len(texts)))
	directory = binary.BigEndian.AppendUint32(directory, versionWithTeam)
	directory = append(directory, make([]byte, directorySize-len(directory))...)
	binary.BigEndian.PutUint32(directory[20:], directorySize)
	binary.BigEndian.PutUint32(directory[48:], uint32(directorySize+len(identifier)+1))
	directory = append(directory, texts...)
	super := binary.BigEndian.AppendUint32(nil, magicSuperBlob)
	super = binary.BigEndian.AppendUint32(super, uint32(20+len(directory)))
	super = binary.BigEndian.AppendUint32(super, 1)
	super = binary.BigEndian.AppendUint32(super, 0)
	super = append(binary.BigEndian.AppendUint32(super, 20), directory...)
	var b []byte
	for _, v := range []uint32{0xfeedfacf, 0x0100000c, 0, 2, 1, 16, 0, 0, loadCodeSignature, 16, 48, uint32(len(super))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(b, super...)
}

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
