package quarantine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/history"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/event"
)

// TestSealHistory keeps what a store was, and changes nothing in it; what cannot be recorded is not sealed.
func TestSealHistory(t *testing.T) {
	dir := realTemp(t)
	store := filepath.Join(dir, "tdata")
	if err := errors.Join(os.Mkdir(store, 0o700), os.WriteFile(filepath.Join(store, "key"), []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	before := stateOf(t, filepath.Join(store, "key"))
	r := &recorder{}
	s := open(t, dir, quarantine.Options{Recorder: r, Host: event.Host{Name: "laptop-17"}})
	seal, err := s.SealHistory(context.Background(), history.Place{App: "telegram", Path: store})
	if err != nil {
		t.Fatal(err)
	}
	if seal.App != "telegram" || seal.Path != store || seal.Files != 1 || seal.Size != 6 || len(seal.SHA256) != 64 || !seal.Whole || seal.Inode == 0 || seal.Host != "laptop-17" || seal.Time.IsZero() {
		t.Errorf("%+v", seal)
	}
	if !slices.Equal(r.acts, []string{"quarantine.seal " + store}) {
		t.Errorf("recorded %q", r.acts)
	}
	if after := stateOf(t, filepath.Join(store, "key")); !reflect.DeepEqual(after, before) {
		t.Errorf("it was %+v and is %+v", before, after)
	}
	if seals, err := s.Seals(); err != nil || len(seals) != 1 || seals[0] != seal {
		t.Errorf("%+v, %v", seals, err)
	}
	if items, err := s.List(); err != nil || len(items) != 0 {
		t.Errorf("a seal is listed as a file: %+v, %v", items, err)
	}
	r.fail = errors.New("disk full")
	if _, err := s.SealHistory(context.Background(), history.Place{App: "telegram", Path: store}); !errors.Is(err, r.fail) {
		t.Errorf("%v", err)
	}
	if _, err := s.SealHistory(context.Background(), history.Place{Path: filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if seals, err := s.Seals(); err != nil || len(seals) != 1 {
		t.Errorf("%+v, %v", seals, err)
	}
}

func FuzzParseSeal(f *testing.F) {
	f.Add([]byte(`{"id":"x","path":"/a","sha256":"00","time":"2026-11-25T00:00:00Z"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		seal, err := quarantine.ParseSeal(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(seal)
		if err != nil {
			return // a time that JSON cannot write
		}
		if back, err := quarantine.ParseSeal(again); err != nil || back.Path != seal.Path {
			t.Errorf("%s became %s: %v", b, again, err)
		}
	})
}

// heldPerson holds one person.
type heldPerson string

func (h heldPerson) HostHeld(_ context.Context, host event.Host) (string, bool, error) {
	return "matter-2", host.Person == string(h), nil
}

// TestHoldOfTheOwner refuses what belongs to a person under hold, though the host is not.
func TestHoldOfTheOwner(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := realTemp(t)
	x := write(t, filepath.Join(dir, "x"), "x")
	s := open(t, dir, quarantine.Options{Holds: heldPerson(me.Username)})
	for _, owner := range []string{me.Username, me.Uid} {
		x.Owner = owner
		if _, err := s.Take(context.Background(), x); !errors.Is(err, quarantine.ErrHeld) {
			t.Errorf("owner %s: %v", owner, err)
		}
		if err := s.Remove(context.Background(), quarantine.Owner{Manager: "dpkg", Package: "none"}, x); !errors.Is(err, quarantine.ErrHeld) {
			t.Errorf("owner %s: %v", owner, err)
		}
	}
	x.Owner = "somebody-else"
	item, err := s.Take(context.Background(), x)
	if err != nil {
		t.Fatal(err)
	}
	age(t, dir, item.ID)
	if _, err := s.Purge(context.Background(), item.ID, 0); !errors.Is(err, quarantine.ErrHeld) {
		t.Errorf("purged under a hold: %v", err)
	}
}

// age makes an item old.
func age(t *testing.T, dir, id string) {
	t.Helper()
	name := filepath.Join(dir, "quarantine", id+".json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	i, err := quarantine.ParseManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	i.Time = i.Time.Add(-40 * 24 * time.Hour)
	if b, err = json.Marshal(i); err == nil {
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPurge deletes only what is old enough, and records it first.
func TestPurge(t *testing.T) {
	dir := realTemp(t)
	r := &recorder{}
	s := open(t, dir, quarantine.Options{Recorder: r})
	item, err := s.Take(context.Background(), write(t, filepath.Join(dir, "x"), "x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, least := range []time.Duration{0, -time.Hour, time.Second, 100 * time.Hour} {
		if _, err := s.Purge(context.Background(), item.ID, least); !errors.Is(err, quarantine.ErrTooYoung) {
			t.Errorf("after no time, %s: %v", least, err)
		}
	}
	age(t, dir, item.ID)
	if _, err := s.Purge(context.Background(), item.ID, 50*24*time.Hour); !errors.Is(err, quarantine.ErrTooYoung) {
		t.Errorf("after 40 days of 50: %v", err)
	}
	r.watch, r.fail = filepath.Join(dir, "quarantine", item.ID), errors.New("disk full")
	if _, err := s.Purge(context.Background(), item.ID, 0); !errors.Is(err, r.fail) {
		t.Errorf("what was not recorded: %v", err)
	}
	r.fail = nil
	if _, err := s.Purge(context.Background(), item.ID, 30*24*time.Hour); err != nil || r.early {
		t.Errorf("%v, recorded after it: %v", err, r.early)
	}
	if items, err := s.List(); err != nil || len(items) != 0 {
		t.Errorf("%+v, %v", items, err)
	}
	if _, err := s.Purge(context.Background(), item.ID, 0); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestCheck knows the file again, or says that it is another.
func TestCheck(t *testing.T) {
	dir := realTemp(t)
	x := write(t, filepath.Join(dir, "x"), "content")
	s := open(t, dir, quarantine.Options{})
	if err := s.Check(x); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(x.Path, bytes.ToUpper([]byte("content")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(x); !errors.Is(err, quarantine.ErrChanged) {
		t.Errorf("%v", err)
	}
	x.Path = filepath.Join(dir, "gone/x")
	if err := s.Check(x); err == nil {
		t.Error("what is gone was known again")
	}
}
