package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKeysDrillIsOnRecord: both answers of a drill are acts, with what was tried; a share never is.
func TestKeysDrillIsOnRecord(t *testing.T) {
	d := newDesk(t)
	share := func(n string) string { return filepath.Join(d.dir, "recovery-shares", "share-"+n+".txt") }
	config := filepath.Join(d.dir, "chaperone.yaml")
	d.says(0, "yes: 2 shares", "keys", "drill", "--config", config, share("1"), share("2"))
	d.says(1, "no: 1 share does not give", "keys", "drill", "--config", config, share("1"))
	out := d.says(0, "", d.as("reviewer", "search", "kind:act keys.drill", "--purpose", "audit", "--json")...)
	if strings.Count(out, `"keys.drill`) != 2 {
		t.Errorf("two drills are on record as\n%s", out)
	}
	raw, err := os.ReadFile(share("1"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, strings.TrimSpace(string(raw))) {
		t.Error("a share is on record")
	}
}

// TestRecoveredKeyReads destroys the key, gets it back from shares, and reads what was sealed before.
func TestRecoveredKeyReads(t *testing.T) {
	d := newDesk(t)
	d.record(wrote(time.Now().UTC(), "alice", "sealed before"))
	key := filepath.Join(d.dir, "data", "keys", "compliance.key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	d.says(2, "", d.as("reviewer", "search", "sealed", "--purpose", "x")...)
	d.says(0, "is written to "+key, "keys", "recover", "--config", filepath.Join(d.dir, "chaperone.yaml"), "--new-passphrase", filepath.Join(d.dir, "data", "keys", "passphrase"),
		filepath.Join(d.dir, "recovery-shares", "share-2.txt"), filepath.Join(d.dir, "recovery-shares", "share-3.txt"))
	d.says(0, "sealed before", d.as("reviewer", "search", "sealed", "--purpose", "x")...)
	d.says(0, "keys.recover", d.as("reviewer", "search", "kind:act keys.recover", "--purpose", "audit")...)
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v (%v)", info.Mode(), err)
	}
}
