package command_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
)

func TestTerminal(t *testing.T) {
	if command.Terminal(&bytes.Buffer{}) != nil {
		t.Error("a buffer is no terminal")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if command.Terminal(f) != nil {
		t.Error("a file is no terminal")
	}
}
