package server_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

// roots lists the files of roots.
func (h *house) roots() map[string][]byte {
	h.t.Helper()
	out := map[string][]byte{}
	files, err := filepath.Glob(h.path("data/keys/roots/*.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range files {
		if out[f], err = os.ReadFile(f); err != nil {
			h.t.Fatal(err)
		}
	}
	return out
}

// recordIn records a message in a room, and returns the file of the root that it is sealed under.
func (h *house) recordIn(room string, e *event.Event) string {
	h.t.Helper()
	before := h.roots()
	e.Room = event.Room{Name: room}
	s, _ := h.open()
	if err := errors.Join(s.Recorder.Record(h.t.Context(), e), s.Close()); err != nil {
		h.t.Fatal(err)
	}
	for f := range h.roots() {
		if _, old := before[f]; !old {
			return f
		}
	}
	h.t.Fatal("no root was made")
	return ""
}

// rebuild runs that operation on a store that is open.
func rebuild(t *testing.T, s *server.Store) error {
	t.Helper()
	var out bytes.Buffer
	ops := server.Operations(s, nil)
	return ops.Run(t.Context(), "rebuild", &control.Call{Caller: control.Caller{Account: "admin", Roles: []control.Role{control.Administrator}}, Args: []byte("{}"), Out: &out})
}

func itemOf(b *health.Board, name string) health.Item {
	for _, i := range b.Items() {
		if i.Name == name {
			return i
		}
	}
	return health.Item{}
}

// TestMissingRoot takes the key of one room away: all else is read, also after a rebuild, and what comes back is readable again.
func TestMissingRoot(t *testing.T) {
	for name, harm := range map[string]func(string) error{
		"removed": os.Remove,
		"torn":    func(f string) error { return os.Truncate(f, 20) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), "")
			lost, kept := wrote(time.Now(), "alice", "words of the one room"), wrote(time.Now(), "bob", "words of the other room")
			root := h.recordIn("one@rooms.example.org", lost)
			h.recordIn("other@rooms.example.org", kept)
			backup := h.roots()[root]
			if err := harm(root); err != nil {
				t.Fatal(err)
			}
			s, board := h.open()
			if err := rebuild(t, s); err != nil {
				t.Fatalf("rebuild: %v", err)
			}
			if i := itemOf(board, "keys"); i.State != health.Failed || i.Advice == "" {
				t.Errorf("health says of keys %+v", i)
			}
			view, err := s.Archive.Open(t.Context(), archive.Account{Name: "reviewer", Reads: true}, "test")
			if err != nil {
				t.Fatal(err)
			}
			r, err := view.Record(t.Context(), lost.ID)
			if hit := search.HitOf(r); err != nil || !r.KeyLost || r.Erased || hit.NotRead != "key_missing" || hit.Text != "content not readable: its key is missing" {
				t.Errorf("the record without a key is %+v (%v)", r, err)
			}
			if r, err := view.Record(t.Context(), kept.ID); err != nil || r.Event.Text != "words of the other room" {
				t.Errorf("the other record is %+v (%v)", r, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			h.serve()()
			if err := os.WriteFile(root, backup, 0o600); err != nil {
				t.Fatal(err)
			}
			s, board = h.open()
			defer s.Close()
			if err := rebuild(t, s); err != nil {
				t.Fatal(err)
			}
			view, _ = s.Archive.Open(t.Context(), archive.Account{Name: "reviewer", Reads: true}, "test")
			if r, err := view.Record(t.Context(), lost.ID); err != nil || r.Event.Text != "words of the one room" || itemOf(board, "keys").State == health.Failed {
				t.Errorf("with its key back the record is %+v (%v), keys %+v", r, err, itemOf(board, "keys"))
			}
		})
	}
}

// TestDamagedProjections overwrites the middle of the file: serve starts, says so, and everything is found again.
func TestDamagedProjections(t *testing.T) {
	for name, part := range map[string]int{"the whole": 0, "the second half": 2} {
		t.Run(name, func(t *testing.T) { damagedProjections(t, part) })
	}
}

// damagedProjections leaves the first page, or the first part-th of the file, as it is.
func damagedProjections(t *testing.T, part int) {
	h := newHouse(t, t.TempDir(), "")
	var all []*event.Event
	for range 300 {
		all = append(all, wrote(time.Now(), "alice", "many words to fill some pages of a file with"))
	}
	h.record(all...)
	file := h.path("data/projections/archive.db")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	from := 4096
	if part > 0 {
		from = len(raw) / part / 4096 * 4096
	}
	for i := from; i < len(raw); i++ {
		raw[i] ^= 0x5a
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s, board := h.open()
	defer s.Close()
	if i := itemOf(board, "archive"); i.State != health.Degraded {
		t.Errorf("health says of the archive %+v", i)
	}
	if _, err := os.Stat(file + ".unusable"); err != nil {
		t.Error(err)
	}
	view, err := s.Archive.Open(t.Context(), archive.Account{Name: "reviewer", Reads: true}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Searcher.Count(t.Context(), view, "pages"); err != nil || n != len(all) {
		t.Errorf("found %d of %d (%v)", n, len(all), err)
	}
}

// TestMadeAnewIsOnRecord: what was missing beside records and was made again is said, and stays on record when the process is gone.
func TestMadeAnewIsOnRecord(t *testing.T) {
	h := newHouse(t, t.TempDir(), "")
	h.record(wrote(time.Now(), "alice", "hello"))
	pub := h.path("data/keys/ledger.pub")
	was, err := os.ReadFile(pub)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(pub), os.Remove(h.path("data/keys/roll.key")), os.Remove(h.path("data/keys/pseudonyms.key"))); err != nil {
		t.Fatal(err)
	}
	h.write("data/state/rolls.json", "null") // where it cannot start, nothing is made
	if s, err := server.OpenStore(t.Context(), h.cfg, nil, health.NewBoard(time.Now), slog.New(slog.DiscardHandler)); err == nil {
		s.Close()
		t.Fatal("it starts with damaged rolls")
	}
	if _, err := os.Stat(pub); err == nil {
		t.Error("a key was made anew by a start that failed")
	}
	if err := os.Remove(h.path("data/state/rolls.json")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := server.OpenStore(t.Context(), h.cfg, nil, health.NewBoard(time.Now), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ledger.pub was made anew from ledger.key: it was missing", "roll.key was missing", "pseudonyms.key was missing"} {
		if !strings.Contains(log.String(), name) {
			t.Errorf("the log does not say %q: %s", name, &log)
		}
	}
	if now, err := os.ReadFile(pub); err != nil || string(now) != string(was) {
		t.Errorf("ledger.pub is %s (%v)", now, err)
	}
	h.serve()
	if n := h.acts(server.ActRemade); n != 3 {
		t.Errorf("%d acts", n)
	}
}

// TestLostFilesAreNamed: what is damaged or missing is named, with what to do.
func TestLostFilesAreNamed(t *testing.T) {
	h := newHouse(t, t.TempDir(), "")
	h.record(wrote(time.Now(), "alice", "hello"))
	if err := os.Remove(h.path("data/keys/roll.key")); err != nil {
		t.Fatal(err)
	}
	s, board := h.open()
	if i := itemOf(board, "key roll.key"); i.State != health.Degraded || i.Advice == "" {
		t.Errorf("health says %+v", i)
	}
	s.Close()
	h.write("data/state/accounts.json", "{")
	rules, err := server.LoadRules(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.OpenStore(t.Context(), h.cfg, rules.Class, board, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "accounts.json is damaged") {
		t.Errorf("error is %v", err)
	}
	if err := os.Remove(h.path("data/keys/compliance.key")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := keyring.Keys(h.cfg); err == nil || !strings.Contains(err.Error(), "keys recover") {
		t.Errorf("error is %v", err)
	}
	if err := os.Remove(h.path("data/keys/compliance.pub")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := keyring.Keys(h.cfg); err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("error is %v", err)
	}
}

// TestKeysThatOthersCanRead: serve says it, as doctor does.
func TestKeysThatOthersCanRead(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	if err := os.Chmod(h.path("data/keys"), 0o777); err != nil {
		t.Fatal(err)
	}
	h.serve()
	until(t, "health names the folder", func() bool {
		said := h.must("health", struct{}{})
		return strings.Contains(said, "can be read by others") && strings.Contains(said, "chmod 0700 ")
	})
}
