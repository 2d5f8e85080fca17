package keyring_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

// house is a folder that quickstart set up.
type house struct {
	t   *testing.T
	dir string
	cfg *config.Config
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, dir: filepath.Join(t.TempDir(), "h")}
	r, err := quickstart.Write(quickstart.Options{Dir: h.dir, Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2})
	if err != nil {
		t.Fatal(err)
	}
	if h.cfg, err = config.Load(r.Config); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func TestKeys(t *testing.T) {
	h := newHouse(t)
	public, private, err := keyring.Keys(h.cfg)
	if err != nil || len(public) != 1 || private == nil || private.Public().ID() != public[0].ID() {
		t.Fatalf("%v", err)
	}
	h.cfg.Keys.Unlock = ""
	if _, private, err := keyring.Keys(h.cfg); err != nil || private != nil {
		t.Errorf("without unlock: %v", err)
	}
	h.write("wrong", "wrong\n")
	h.cfg.Keys.Unlock = "file:wrong"
	if _, _, err := keyring.Keys(h.cfg); err == nil {
		t.Error("a wrong passphrase unlocks")
	}
	h.write("data/keys/compliance.pub", "nonsense")
	if _, _, err := keyring.Keys(h.cfg); err == nil || !strings.Contains(err.Error(), "compliance.pub") {
		t.Errorf("a broken key gave %v", err)
	}
	os.Remove(h.path("data/keys/compliance.pub"))
	if _, _, err := keyring.Keys(h.cfg); !errors.Is(err, keyring.ErrNoKeys) {
		t.Errorf("no key gave %v", err)
	}
}
