package durable_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/durable"
)

type write func(path string, b []byte, mode fs.FileMode) error

func TestWrites(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   write
		over bool // another file is replaced
	}{{"replace", durable.Replace, true}, {"overwrite", durable.Overwrite, true}, {"place", durable.Place, false}, {"create", durable.Create, false}} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := tt.do(path, []byte("first"), 0o640); err != nil {
				t.Fatal(err)
			}
			holds(t, path, "first")
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v %v", info.Mode(), err)
			}
			err := tt.do(path, []byte("second"), 0o640)
			want := "second"
			if !tt.over {
				want = "first"
				if !errors.Is(err, fs.ErrExist) {
					t.Errorf("over another file: %v", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			holds(t, path, want)
			if err := tt.do(filepath.Join(path, "below a file"), nil, 0o600); err == nil {
				t.Error("a folder that is none is no error")
			}
		})
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != want {
		t.Errorf("%q %v, want %q", b, err, want)
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("beside it lie %v %v", names, err)
	}
}

// TestOverwriteLeavesNothing looks at the old file through a second name.
func TestOverwriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "key"), filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(path, []byte("an old secret"), 0o600), os.Link(path, other)); err != nil {
		t.Fatal(err)
	}
	if err := durable.Overwrite(path, []byte("a new one"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(other)
	if err != nil || !bytes.Equal(old, make([]byte, len("an old secret"))) {
		t.Errorf("of the old file remains %q (%v)", old, err)
	}
}

func TestCreateNeverWritesToADevice(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	if err := durable.Create("/dev/full", []byte("x"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a device was written to: %v", err)
	}
	if err := durable.SyncDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
