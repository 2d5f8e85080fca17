package outside_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chaperone-im/chaperone/internal/outside"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		if raw, err := outside.ReadFile(p, 5); err != nil || string(raw) != "12345" {
			t.Errorf("%s: %q, %v", p, raw, err)
		}
	}
	if _, err := outside.ReadFile(path, 4); !errors.Is(err, outside.ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is too large: %v", err)
	}
	if _, err := outside.ReadFile(filepath.Join(dir, "absent"), 4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

// TestOpenRefuses what is no regular file: at once, without waiting for its other side, and with its name and what it is.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	pipe, socket, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, word := range map[string]string{pipe: "a pipe", link: "a pipe", socket: "a socket", dir: "a folder", "/dev/zero": "a device"} {
		f, err := outside.Open(path)
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, outside.ErrNotRegular) || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, word)
		}
	}
}
