package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
)

// adversary removes one message from a copy, re-signs everything, and is found by whoever kept a checkpoint.
func (s *stage) adversary() error {
	id, err := s.recordOf(`"move this to WhatsApp"`)
	if err != nil {
		return err
	}
	data, outside, stolen := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "outside"), filepath.Join(s.dir, "copy")
	if err := s.acknowledged(outside, id); err != nil {
		return err
	}
	s.say("The checkpoints had left the machine: they lie in outside/, which stands for a machine of somebody else.")
	if _, err := s.prove([]string{"PROVEN since"}, "verify", "--checkpoint", outside, data); err != nil {
		return err
	}
	if err := copyStore(stolen, data); err != nil {
		return err
	}
	key, err := ledger.LoadOrCreateKey(filepath.Join(stolen, "keys"), "", time.Now)
	if err != nil {
		return err
	}
	if err := ledgertest.Tamper(stolen, id, key); err != nil {
		return err
	}
	s.say("In copy/ the record %s is gone, and frames, chain, ledger and checkpoint are made and signed anew.", id)
	s.say("Who holds no checkpoint:")
	if _, err := s.prove([]string{"CONSISTENT, NOT PROVEN"}, "verify", stolen); err != nil {
		return err
	}
	s.say("Who kept one:")
	_, err = s.prove([]string{"BROKEN", id}, "verify", "--checkpoint", outside, stolen)
	return err
}

// copyStore copies a data directory that is in use: the ledger first, so that the journal has all it speaks of. The ledger may replace a
// partial tile meanwhile; then the copy is made again.
func copyStore(to, from string) error {
	var err error
	for range 10 {
		if err = os.RemoveAll(to); err != nil {
			return err
		}
		for _, part := range []string{"ledger", "journal", "objects", "keys"} {
			if err = os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(from, part))); err != nil {
				break
			}
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		time.Sleep(300 * time.Millisecond)
	}
	return err
}

// recordOf returns the id of the one record that a query finds.
func (s *stage) recordOf(query string) (string, error) {
	out, err := s.chaperone(append([]string{"search", "--json", "--limit", "1", query}, s.reading()...)...)
	if err != nil {
		return "", err
	}
	var hit struct{ ID string }
	if err := json.Unmarshal([]byte(out), &hit); err != nil {
		return "", fmt.Errorf("search %s: %w: %s", query, err, out)
	}
	return hit.ID, nil
}

// acknowledged waits until the checkpoint over a record has left the machine.
func (s *stage) acknowledged(outside, id string) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(outside, "*"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if raw, err := os.ReadFile(f); err == nil && strings.Contains(string(raw), id) {
				return nil
			}
		}
	}
	return errors.New("no checkpoint over the record came out")
}
