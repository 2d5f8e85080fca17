package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	key, err := ledger.LoadOrCreateKey(filepath.Join(dir, "keys"), "chaperone/test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := ledgertest.Frames(3, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if frames, err = ledgertest.Build(dir, key, frames); err != nil {
		t.Fatal(err)
	}
	bundle, err := ledgertest.BundleOf(key, frames, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := bundle.Encode()
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "b.json")
	if err := os.WriteFile(outside, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	expect := func(code int, says string, args ...string) {
		t.Helper()
		var out, errOut strings.Builder
		if got := run(context.Background(), args, &out, &errOut); got != code || !strings.Contains(out.String()+errOut.String(), says) {
			t.Errorf("%v: exit %d, want %d\n%s%s", args, got, code, &out, &errOut)
		}
	}
	expect(0, "CONSISTENT, NOT PROVEN", dir)
	expect(0, "PROVEN since ", "-checkpoint", outside, dir)
	expect(0, `"verdict":"PROVEN"`, "-json", "-checkpoint", outside, dir)
	expect(2, "usage:")
	expect(2, "no journal here", t.TempDir())
	expect(2, "no such file", "-checkpoint", outside+"x", dir)
	if err := ledgertest.Tamper(dir, "019b0000-0000-7000-8000-000000000001", key); err != nil {
		t.Fatal(err)
	}
	expect(0, "CONSISTENT, NOT PROVEN", dir)
	expect(1, "record-removed: record 019b0000-0000-7000-8000-000000000001", "-checkpoint", outside, dir)
}
