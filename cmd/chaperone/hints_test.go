package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

// TestServeHints: what helps fits what went wrong.
func TestServeHints(t *testing.T) {
	c := &serveCmd{Config: "here.yaml"}
	if err := c.hint(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	for want, err := range map[string]error{
		"ss -ltnp":                            syscall.EADDRINUSE,
		"CAP_NET_BIND_SERVICE":                syscall.EACCES,
		"one process writes":                  journal.ErrLocked,
		"chaperone quickstart firm":           keyring.ErrNoKeys,
		"chaperone doctor --config here.yaml": io.EOF,
	} {
		got := c.hint(fmt.Errorf("start: %w", err))
		if h := hint.Of(got); !strings.Contains(h, want) || !errors.Is(got, err) {
			t.Errorf("%v: hint %q", err, h)
		}
	}
	if h := hint.Of(c.hint(fmt.Errorf("%w: %w", keyring.ErrNoKeys, keyring.ErrPublicLost))); strings.Contains(h, "quickstart") {
		t.Errorf("who has records is sent to quickstart: %q", h)
	}
}

// TestHintsOfWhatIsLost: a data directory without keys is set up; one that lost them has them brought back.
func TestHintsOfWhatIsLost(t *testing.T) {
	empty := t.TempDir()
	if _, _, errOut := call(t, "", "search", "--data", empty, "x"); !strings.Contains(errOut, "hint: chaperone quickstart firm") {
		t.Errorf("of an empty data directory is said %s", errOut)
	}
	d := newDesk(t)
	d.record(wrote(time.Now().UTC(), "alice", "sealed before"))
	if err := os.Remove(filepath.Join(d.dir, "data", "keys", "compliance.pub")); err != nil {
		t.Fatal(err)
	}
	status, _, errOut := call(t, "", d.as("reviewer", "search", "sealed", "--purpose", "x")...)
	if status != 2 || !strings.Contains(errOut, "compliance.pub") || strings.Contains(errOut, "quickstart firm makes") {
		t.Errorf("of a lost key is said %s", errOut)
	}
}

// TestHintsOfKeys: a passphrase that is too short, a key that is there, and shares that are none.
func TestHintsOfKeys(t *testing.T) {
	d := newDesk(t)
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(d.dir, "data", "keys", "passphrase")
	share := func(n int) string { return filepath.Join(d.dir, "recovery-shares", fmt.Sprintf("share-%d.txt", n)) }
	at := func(args ...string) []string {
		return append([]string{"keys", args[0], "--config", filepath.Join(d.dir, "chaperone.yaml")}, args[1:]...)
	}
	d.says(2, "--force to write over it", at("recover", "--new-passphrase", long, share(1), share(2))...)
	d.says(2, "openssl rand -base64 24", at("recover", "--out", filepath.Join(d.dir, "new.key"), "--new-passphrase", short, share(1), share(2))...)
	d.says(2, "each file holds one share", at("recover", "--out", filepath.Join(d.dir, "new.key"), "--new-passphrase", long, long, share(2))...)
	d.says(2, "hourly counts name no machine", d.as("reviewer", "observations", "--hours", "--host", "laptop-17", "--purpose", "x")...)
	d.says(2, `"yesterday" is no time`, d.as("reviewer", "observations", "--after", "yesterday", "--purpose", "x")...)
}
