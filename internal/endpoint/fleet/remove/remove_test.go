package remove_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/remove"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
)

// TestExecute: what the plan names is taken away and comes back; what is another file, a link or gone is left, and said.
func TestExecute(t *testing.T) {
	dir, store := quarantined(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"one", "changed"} {
		if err := os.WriteFile(path(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path("one"), path("link")); err != nil {
		t.Fatal(err)
	}
	item := func(name, content string) protocol.OrderItem {
		sum := sha256.Sum256([]byte(content))
		return protocol.OrderItem{Path: path(name), SHA256: hex.EncodeToString(sum[:]), App: "telegram", Rule: "none", Identity: true}
	}
	r := remove.New(store)
	order := protocol.Order{Action: protocol.RemoveOrder, Items: []protocol.OrderItem{item("one", "one"), item("changed", "before"), item("link", "one"), item("gone", "x")}}
	got := r.Execute(t.Context(), order).Outcomes
	for i, want := range []struct{ action, err string }{{"quarantined", ""}, {"none", "another than the plan names"}, {"none", "regular"}, {"none", "not there any more"}} {
		if got[i].Action != want.action || !strings.Contains(got[i].Error, want.err) || want.err == "" && got[i].Error != "" {
			t.Errorf("%s: %+v", order.Items[i].Path, got[i])
		}
	}
	if _, err := os.Lstat(path("one")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	again := r.Execute(t.Context(), protocol.Order{Action: protocol.QuarantineOrder, Items: order.Items[:1]}).Outcomes
	if again[0].Action != "quarantined" || again[0].ID != got[0].ID {
		t.Errorf("an order that is carried out again finds %+v", again[0])
	}
	back := r.Execute(t.Context(), protocol.Order{Action: protocol.RestoreOrder, Items: []protocol.OrderItem{{ID: got[0].ID, Path: path("one")}, {ID: "nothing"}}}).Outcomes
	if back[0].Action != "restored" || back[1].Error == "" {
		t.Errorf("%+v", back)
	}
	again = r.Execute(t.Context(), protocol.Order{Action: protocol.RestoreOrder, Items: []protocol.OrderItem{{ID: got[0].ID, Path: path("one"), SHA256: got[0].SHA256}, {ID: got[0].ID, Path: path("one"), SHA256: "ab"}}}).Outcomes
	if again[0].Action != "restored" || again[0].Error != "" || again[1].Error == "" {
		t.Errorf("what is back already: %+v", again)
	}
	if b, err := os.ReadFile(path("one")); err != nil || string(b) != "one" {
		t.Errorf("%q, %v", b, err)
	}
}

// quarantined is a folder with a quarantine in it.
func quarantined(t *testing.T) (dir string, store *quarantine.Store) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store, err = quarantine.Open(filepath.Join(dir, "quarantine"), quarantine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return dir, store
}

// TestPackage: a package goes only when the evidence identifies the messenger for itself.
func TestPackage(t *testing.T) {
	dir, store := quarantined(t)
	path := filepath.Join(dir, "telegram")
	for name, text := range map[string]string{
		"telegram":   "x",
		"dpkg-query": "#!/bin/sh\ncase \"$1\" in --search) echo \"tg: " + path + "\";; --show) printf 4.1;; --listfiles) echo /.;; esac\n",
		"dpkg-deb":   "#!/bin/sh\nfor last; do :; done; : >\"$last\"\n",
		"dpkg":       "#!/bin/sh\nrm " + path + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	sum := sha256.Sum256([]byte("x"))
	item := protocol.OrderItem{Path: path, SHA256: hex.EncodeToString(sum[:]), App: "telegram", Rule: "none"}
	execute := func() protocol.Outcome {
		return remove.New(store).Execute(t.Context(), protocol.Order{Action: protocol.RemoveOrder, Items: []protocol.OrderItem{item}}).Outcomes[0]
	}
	if got := execute(); got.Action != "none" || !strings.Contains(got.Error, "evidence below identity grade") {
		t.Errorf("by words alone: %+v", got)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("it was removed all the same")
	}
	if got := remove.New(store).Execute(t.Context(), protocol.Order{Action: protocol.QuarantineOrder, Items: []protocol.OrderItem{item}}).Outcomes[0]; got.Action != "none" {
		t.Errorf("into quarantine, by words alone: %+v", got)
	}
	item.Identity = true
	if got := execute(); got.Action != "removed" || got.Error != "" || got.Undo != "dpkg --install "+filepath.Join(store.Dir(), "packages", "tg_4.1.deb") {
		t.Errorf("identified: %+v", got)
	}
}

// TestNamedByAPerson: a file that nothing identifies is left, whoever owns it, until somebody who looked at it named it.
func TestNamedByAPerson(t *testing.T) {
	dir, store := quarantined(t)
	path := filepath.Join(dir, "renamed")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("x"))
	item := protocol.OrderItem{Path: path, SHA256: hex.EncodeToString(sum[:]), App: "telegram", Rule: "none"}
	for _, named := range []bool{false, true} {
		item.Named = named
		got := remove.New(store).Execute(t.Context(), protocol.Order{Action: protocol.RemoveOrder, Items: []protocol.OrderItem{item}}).Outcomes[0]
		if (got.Action == "quarantined") != named || (got.Error == "") != named {
			t.Errorf("named %v: %+v", named, got)
		}
		if _, err := os.Lstat(path); (err == nil) == named {
			t.Errorf("named %v: %v", named, err)
		}
	}
}
