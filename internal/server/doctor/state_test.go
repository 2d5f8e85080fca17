package doctor_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/doctor"
)

const unlocked = "keys: {unlock: \"file:data/keys/passphrase\"}\n"

// used is a machine with a message on record, and what serve keeps beside.
func used(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	s, err := server.OpenStore(t.Context(), m.config(unlocked), nil, health.NewBoard(time.Now), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Start(t.Context())
	e := &event.Event{Kind: event.Message, Connector: "office", From: event.Party{Handle: "alice@example.org"}, Content: event.Content{Text: "hello"}}
	if err := errors.Join(s.Recorder.Record(t.Context(), e), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"checkpoints.json", "rolls.json", "verified.json"} { // as they are before anything is in them
		if err := os.WriteFile(m.path("data/state/"+name), []byte(`{"days":{}}`), 0o600); name != "checkpoints.json" && err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(m.path("data/state/checkpoints.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDamagedState damages the files beside the journal in each way: doctor names them and says what to do, and changes nothing; serve does not
// start with one, and says the same. Nothing ends in a panic.
func TestDamagedState(t *testing.T) {
	m := used(t)
	found := m.examine(unlocked, doctor.Options{})
	says(t, found, "state", doctor.OK, "can be read")
	says(t, found, "secrets", doctor.OK, "is there")
	files := []string{"accounts.json", "names.log", "checkpoints.json", "rolls.json"}
	whole := map[string][]byte{}
	for _, name := range files {
		var err error
		if whole[name], err = os.ReadFile(m.path("data/state/" + name)); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, bytes string) {
		if err := os.WriteFile(m.path("data/state/"+name), []byte(bytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for how, bytes := range map[string]string{"empty": "", "torn": `{"a`, "binary": strings.Repeat("\x7fELF\x00\xff", 50), "null": "null", "of another form": "[null]"} {
		t.Run(how, func(t *testing.T) {
			for _, name := range files {
				put(name, bytes)
			}
			put("verified.json", bytes)
			found := m.examine(unlocked, doctor.Options{})
			if how == "binary" {
				says(t, found, "state", doctor.Warn, "verified.json")
			}
			for _, name := range files {
				says(t, found, "state", doctor.Fail, name)
				if now, err := os.ReadFile(m.path("data/state/" + name)); err != nil || string(now) != bytes {
					t.Errorf("doctor changed %s to %q (%v)", name, now, err)
				}
				put(name, string(whole[name]))
			}
			for _, name := range files {
				if name == "names.log" && how != "binary" {
					continue // short enough for what a crash leaves: it is read as empty, and serve says that names are lost
				}
				put(name, bytes)
				s, err := server.OpenStore(t.Context(), m.config("keys: {}\n"), nil, health.NewBoard(time.Now), slog.New(slog.DiscardHandler))
				if err == nil {
					s.Close()
					t.Errorf("serve starts with %s", name)
				} else if !strings.Contains(err.Error(), name+" is damaged") || !strings.Contains(err.Error(), "move it away") {
					t.Errorf("serve says of %s: %v", name, err)
				}
				put(name, string(whole[name]))
			}
		})
	}
}

// TestMissingState: what is missing beside records is a finding, each with what it means.
func TestMissingState(t *testing.T) {
	m := used(t)
	for name, check := range map[string]string{"state/accounts.json": "state", "state/names.log": "state", "state/names.key": "state", "keys/roll.key": "secrets", "keys/pseudonyms.key": "secrets",
		"keys/ledger.key": "secrets", "keys/ledger.pub": "secrets", "keys/compliance.key": "secrets", "state/projections.key": "secrets"} {
		path := m.path("data/" + name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		says(t, m.examine(unlocked, doctor.Options{}), check, doctor.Fail, name)
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(m.path("data/keys/pseudonyms.key")); err != nil {
		t.Fatal(err)
	}
	says(t, m.examine("keys: {compliance: [data/keys/compliance.pub]}\n", doctor.Options{}), "secrets", doctor.OK, "is there") // who only seals never had one
	says(t, newMachine(t).examine(unlocked, doctor.Options{}), "secrets", doctor.OK, "no records yet")
}

// TestLostNamesAreSaid: serve begins with an empty map where it has to, and says what that costs.
func TestLostNamesAreSaid(t *testing.T) {
	m := used(t)
	if err := os.Truncate(m.path("data/state/names.log"), 0); err != nil {
		t.Fatal(err)
	}
	board := health.NewBoard(time.Now)
	s, err := server.OpenStore(t.Context(), m.config(unlocked), nil, board, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, i := range board.Items() {
		if i.Name == "key names.log" && i.State == health.Degraded && strings.Contains(i.Detail, "other ids") && strings.Contains(i.Advice, "names.key") {
			return
		}
	}
	t.Errorf("health says %+v", board.Items())
}

// TestLostRecord: a record that is shorter than state/ knows, or gone, is a failure that says what is missing and what to do; before there was
// any it is none.
func TestLostRecord(t *testing.T) {
	says(t, newMachine(t).examine(unlocked, doctor.Options{}), "record", doctor.OK, "no records yet")
	m := used(t)
	if err := os.WriteFile(m.path("data/state/rolls.json"), []byte(`{"seen":9,"days":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	found := m.examine(unlocked, doctor.Options{})
	says(t, found, "record", doctor.Fail, "state/rolls.json knows of 9 frames")
	says(t, found, "record", doctor.Fail, "the record is shorter than it was")
	if err := errors.Join(os.RemoveAll(m.path("data/journal")), os.RemoveAll(m.path("data/ledger"))); err != nil {
		t.Fatal(err)
	}
	found = m.examine(unlocked, doctor.Options{})
	says(t, found, "record", doctor.Fail, "the record is gone")
	for _, f := range found {
		if f.Check == "record" && f.State == doctor.Fail && !strings.Contains(f.Do, "backup") {
			t.Errorf("what to do is %q", f.Do)
		}
	}
}
