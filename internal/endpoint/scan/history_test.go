package scan_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestHistory reports where conversations are kept, by what is known from outside, and never as something to act on.
func TestHistory(t *testing.T) {
	dir := t.TempDir()
	store := "home/a/.local/share/TelegramDesktop/tdata"
	if err := os.MkdirAll(filepath.Join(dir, store), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, store, "key_datas"), []byte("secret"))
	write(t, filepath.Join(dir, store, "update.bin"), scantest.Installer())
	write(t, filepath.Join(dir, "C/Users/B/AppData/Roaming/Skype/b.jones/main.db"), []byte("SQLite format 3"))
	records := &recorder{}
	file, err := policy.Parse("policy.yaml", []byte("version: 1\nrules:\n  - {id: no-messengers, apps: [\"*\"], verdict: block}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(file, policy.Known{})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, scan.Options{Recorder: records, Policy: p}, dir)
	f := r.findings[store]
	if f == nil {
		t.Fatalf("the store was not found: %q", r.order)
	}
	l := f.Line()
	if l.Kind != "history" || l.Format != "folder" || l.App != "telegram" || len(l.SHA256) != 64 || l.Files != 2 || l.Owner == "" || l.ModifiedLast == "" || l.Size == 0 {
		t.Errorf("%+v", l)
	}
	if l.Confidence > 0.5 || f.Certain() || f.Event.Verdict.Action.Stops() {
		t.Errorf("a path is taken for proof: %+v", l)
	}
	if s := r.findings["C/Users/B/AppData/Roaming/Skype/b.jones/main.db"]; s == nil || s.Event.Program.App != "skype" || s.Line().Format != "file" {
		t.Errorf("the file was not found: %q", r.order)
	}
	if r.findings[store+"/update.bin"] == nil {
		t.Errorf("a program that hides in a store was not found: %q", r.order)
	}
	if len(records.events) != len(r.order) || slices.Index(r.order, store) > slices.Index(r.order, store+"/update.bin") {
		t.Errorf("%d records, order %q", len(records.events), r.order)
	}
	if r := run(t, scan.Options{NoHistory: true}, dir); len(r.order) != 1 {
		t.Errorf("with nothing asked about history: %q", r.order)
	}
}

// TestHistoryThatCannotBeRead is a problem, as a file is.
func TestHistoryThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a/.config/discord/Cache")
	for range 70 {
		deep = filepath.Join(deep, "d")
	}
	if err := errors.Join(os.MkdirAll(deep, 0o755)); err != nil {
		t.Fatal(err)
	}
	if r := run(t, scan.Options{}, dir); !slices.Contains(r.problems, "a/.config/discord/Cache: unreadable") {
		t.Errorf("%q", r.problems)
	}
}
