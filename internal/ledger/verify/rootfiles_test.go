package verify_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

// rooted makes a store of records under two roots, with their files.
func rooted(t *testing.T) (dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	key, err := ledger.LoadOrCreateKey(filepath.Join(dir, "keys"), "chaperone/example", time.Now)
	check(t, err)
	var frames []journal.Frame
	for i := range byte(3) {
		id := bytes.Repeat([]byte{i % 2}, 16)
		sealed := append(append([]byte{1}, id...), make([]byte, 24)...)
		h := event.Header{Version: 1, ID: event.NewID(), Kind: event.Message, Time: time.Unix(1, 0).UTC(), Received: time.Unix(1, 0).UTC(), Sealed: event.Digest(sealed)}
		raw, err := event.Canonical(&h)
		check(t, err)
		frames = append(frames, journal.Frame{Head: journal.Head{Stream: "local", Time: time.Unix(1, 0).UTC()}, Records: []journal.Record{{Header: raw, Sealed: sealed}}})
		files = append(files, filepath.Join(dir, "keys", "roots", hex.EncodeToString(id)+".json"))
	}
	_, err = ledgertest.Build(dir, key, frames)
	check(t, err)
	check(t, os.MkdirAll(filepath.Join(dir, "keys", "roots"), 0o700))
	for _, f := range files {
		check(t, os.WriteFile(f, []byte("{}"), 0o600))
	}
	return dir, files[:2]
}

// TestRootsAreThere: a key that is gone breaks the store, and a copy without keys does not. Both verifiers agree.
func TestRootsAreThere(t *testing.T) {
	for _, tt := range []struct {
		name    string
		harm    func(dir string, files []string) error
		verdict string
		finding string
		note    string
	}{
		{name: "all there", harm: func(string, []string) error { return nil }, verdict: verify.Consistent},
		{name: "one gone", harm: func(_ string, f []string) error { return os.Remove(f[0]) }, verdict: verify.Broken, finding: "content of 2 records"},
		{name: "one empty", harm: func(_ string, f []string) error { return os.Truncate(f[1], 0) }, verdict: verify.Broken, finding: "content of 1 records"},
		{name: "folder gone", harm: func(dir string, _ []string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "keys", "roots")), os.WriteFile(filepath.Join(dir, "keys", "compliance.pub"), []byte("x"), 0o600))
		}, verdict: verify.Broken, finding: "content of 2 records"},
		{name: "copy without keys", harm: func(dir string, _ []string) error { return os.RemoveAll(filepath.Join(dir, "keys", "roots")) }, verdict: verify.Consistent, note: "kept elsewhere"},
		{name: "no key of the ledger", harm: func(dir string, _ []string) error { return os.Remove(filepath.Join(dir, "keys", "ledger.pub")) }, verdict: verify.Broken, finding: "keys/ledger.pub, the ledger's verifier key, is missing"},
		{name: "malformed key of the ledger", harm: func(dir string, _ []string) error {
			return os.WriteFile(filepath.Join(dir, "keys", "ledger.pub"), []byte("nonsense"), 0o600)
		}, verdict: verify.Broken, finding: "keys/ledger.pub is no verifier key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, files := rooted(t)
			check(t, tt.harm(dir, files))
			r, err := verify.Verify(context.Background(), dir, verify.Options{})
			check(t, err)
			var b strings.Builder
			check(t, r.WriteText(&b))
			if r.Verdict != tt.verdict || !strings.Contains(b.String(), tt.finding) || !strings.Contains(b.String(), tt.note) {
				t.Errorf("the answer is\n%s", b.String())
			}
			if other := independent(t, dir, ""); other.Verdict != tt.verdict {
				t.Errorf("verify.py says %s: %v", other.Verdict, other.Findings)
			}
		})
	}
}

// TestKeysElsewhere: where keys lie outside the data directory, the ledger's and the records' are looked for there.
func TestKeysElsewhere(t *testing.T) {
	dir, files := rooted(t)
	keys := filepath.Join(t.TempDir(), "keys")
	check(t, os.Rename(filepath.Join(dir, "keys"), keys))
	says := func(o verify.Options) (string, string) {
		r, err := verify.Verify(context.Background(), dir, o)
		check(t, err)
		var b strings.Builder
		check(t, r.WriteText(&b))
		return r.Verdict, b.String()
	}
	if v, text := says(verify.Options{}); v != verify.Broken || !strings.Contains(text, "--config") {
		t.Errorf("without knowing where: %s", text)
	}
	if v, text := says(verify.Options{Keys: keys}); v != verify.Consistent || strings.Contains(text, "elsewhere") {
		t.Errorf("with all keys: %s", text)
	}
	check(t, os.Remove(filepath.Join(keys, "roots", filepath.Base(files[0]))))
	if v, text := says(verify.Options{Keys: keys}); v != verify.Broken || !strings.Contains(text, "is not in "+keys+"/roots: the content of 2 records") {
		t.Errorf("without a root: %s", text)
	}
	check(t, os.WriteFile(filepath.Join(keys, "ledger.pub"), []byte("nonsense"), 0o600))
	if v, text := says(verify.Options{Keys: keys}); v != verify.Broken || !strings.Contains(text, keys+"/ledger.pub is no verifier key") {
		t.Errorf("with a malformed key: %s", text)
	}
}

// TestPermission: who may not look is told so.
func TestPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir, _ := rooted(t)
	check(t, os.Chmod(dir, 0))
	defer os.Chmod(dir, 0o700)
	if _, err := verify.Verify(context.Background(), dir, verify.Options{}); err == nil || errors.Is(err, verify.ErrNotAStore) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("error is %v", err)
	}
}
