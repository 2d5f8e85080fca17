package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
)

// TestOnlyRegularFilesAreOpened: a pipe that nobody writes to, or a device, is refused at once wherever a file is named.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	d := newDesk(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	configured := filepath.Join(d.dir, "people.yaml")
	if err := os.WriteFile(configured, []byte("data_dir: ./data\npeople: {csv: "+pipe+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unlocked := filepath.Join(d.dir, "unlock.yaml")
	if err := os.WriteFile(unlocked, []byte("data_dir: ./data\nkeys: {unlock: 'file:"+pipe+"'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(d.dir, "data")
	d.says(0, "", "account", "create", "--config", filepath.Join(d.dir, "chaperone.yaml"), "--role", "counsel", "another")
	for _, args := range [][]string{
		{"verify", "--checkpoint", pipe, data},
		{"config", "test", "--config", pipe},
		{"config", "test", "--config", "/dev/zero"},
		{"config", "test", "--config", configured},
		{"config", "test", "--config", unlocked},
		{"serve", "--config", pipe},
		{"policy", "check", pipe},
		{"policy", "test", pipe},
		{"policy", "try", pipe},
		{"policy", "try", "--policy", pipe, "-"},
		{"policy", "explain", "--policy", pipe, "--text", "x"},
		{"policy", "dry-run", "--config", filepath.Join(d.dir, "chaperone.yaml"), "--policy", pipe},
		{"search", "--config", filepath.Join(d.dir, "chaperone.yaml"), "--account", "reviewer", "--password-file", pipe, "x"},
		{"keys", "drill", "--config", filepath.Join(d.dir, "chaperone.yaml"), pipe},
		{"keys", "drill", "--config", filepath.Join(d.dir, "chaperone.yaml"), "--recovery", "/dev/zero", pipe},
		{"scan", "--policy", pipe, d.dir},
	} {
		_, out, errOut := call(t, "", args...)
		if !strings.Contains(out+errOut, "not a regular file") {
			t.Errorf("%q says:\n%s%s", args, out, errOut)
		}
	}
	if code, out, _ := call(t, "", "inspect", pipe); code != 2 || !strings.Contains(out, "not a regular file") {
		t.Errorf("inspect: %d, %s", code, out)
	}
}

// call runs a command line and returns its exit status and output.
func call(t *testing.T, stdin string, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(args, &command.Env{Ctx: t.Context(), In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut})
	return code, out.String(), errOut.String()
}
