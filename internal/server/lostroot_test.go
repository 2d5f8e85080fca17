package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/server"
)

// ask runs an operation on a store that is open, signed by an account.
func ask(t *testing.T, s *server.Store, rules *server.Rules, name string, args any) (string, error) {
	t.Helper()
	encoded, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = server.Operations(s, rules).Run(t.Context(), name, &control.Call{Args: encoded, Out: &out})
	return out.String(), err
}

// TestDisposeOfWhatLostItsKey: a record whose root was lost after it was projected is disposed of with a certificate, and its root cannot bring
// it back; one that is known by its header alone is left, and counted.
func TestDisposeOfWhatLostItsKey(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	long := time.Now().AddDate(0, 0, -60)
	gone, erased, kept := wrote(long, "alice", "words of one room"), wrote(time.Now(), "alice", "words of another room"), wrote(long, "bob", "words of the last room")
	roots := []string{h.recordIn("one@rooms.example.org", gone), h.recordIn("another@rooms.example.org", erased)}
	h.recordIn("last@rooms.example.org", kept)
	backup := h.roots()
	for _, root := range roots {
		if err := os.Remove(root); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := server.LoadRules(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := h.open()
	s.Start(t.Context())
	out, err := ask(t, s, rules, "dispose", server.DisposeArgs{Sign: as("counsel"), Reason: "their time is over", Do: true})
	if err != nil {
		t.Fatalf("disposal: %v", err)
	}
	var d retention.Disposal
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Disposed != 2 || d.KeysLost != 1 || d.Unread != 0 {
		t.Errorf("disposal did %s (%v)", out, err)
	}
	_, err = ask(t, s, rules, "erase", server.EraseArgs{Sign: as("counsel"), ID: erased.ID, Reason: "asked for"})
	if !errors.Is(err, archive.ErrKeyLost) || !strings.Contains(err.Error(), "nothing was erased: restore keys/roots") {
		t.Errorf("an erasure that destroys nothing: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, root := range roots { // the backup of the keys brings nothing back
		if err := os.WriteFile(root, backup[root], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := verify.Verify(t.Context(), h.cfg.Data(), verify.Options{})
	if err != nil || r.Verdict != verify.Consistent || r.Disposed != 2 {
		t.Errorf("verify says %+v (%v)", r, err)
	}
	h.serve()
	h.must("rebuild", struct{}{})
	for _, hit := range h.hits("kind:message") {
		if hit.ID != string(erased.ID) && strings.Contains(hit.Text, "words") {
			t.Errorf("%s is read again: %s", hit.ID, hit.Text)
		}
	}
}

// TestDisposeLeavesWhatItCannotRead: without its content nobody knows its class, and whether a hold covers it.
func TestDisposeLeavesWhatItCannotRead(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	root := h.recordIn("one@rooms.example.org", wrote(time.Now().AddDate(0, 0, -60), "alice", "words"))
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	rules, err := server.LoadRules(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := h.open()
	defer s.Close()
	if err := rebuild(t, s); err != nil {
		t.Fatal(err)
	}
	out, err := ask(t, s, rules, "dispose", server.DisposeArgs{Sign: as("counsel"), Reason: "their time is over", Do: true})
	if err != nil || !strings.Contains(out, `"unread":1`) || !strings.Contains(out, `"disposed":0`) {
		t.Errorf("it did %s (%v)", out, err)
	}
}

// TestLostRootIsSaidAtStart: projections are whole, and health and log say all the same which keys are missing.
func TestLostRootIsSaidAtStart(t *testing.T) {
	for name, harm := range map[string]func(string) error{"removed": os.Remove, "torn": func(f string) error { return os.Truncate(f, 20) }} {
		t.Run(name, func(t *testing.T) {
			at := free(t)
			h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\n")
			root := h.recordIn("one@rooms.example.org", wrote(time.Now(), "alice", "words of one room"))
			h.recordIn("other@rooms.example.org", wrote(time.Now(), "bob", "words of the other room"))
			whole := h.roots()[root]
			if err := harm(root); err != nil {
				t.Fatal(err)
			}
			stop := h.serve()
			id := strings.TrimSuffix(filepath.Base(root), ".json")
			until(t, "health names the root", func() bool {
				i := state(t, at, "keys")
				return i.State == health.Failed && strings.Contains(i.Detail, "the content of 1 records cannot be opened") && strings.Contains(i.Detail, id+" (1)") && strings.Contains(i.Advice, "restore keys/roots")
			})
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(root, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			h.serve()
			until(t, "health says that all is there", func() bool { return state(t, at, "keys").State == health.OK })
		})
	}
}
