package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

// keysItem is the health item of the keys folder.
const keysItem = "keys"

// exposedItem is the health item of who can read the files of the keys folder.
const exposedItem = "key files"

const restoreKeys = "Stop serve, restore the keys folder from its backup, run chaperone rebuild: what is sealed under a key that comes back is readable again."

const restoreRoots = "Stop serve and restore keys/roots from the backup of the keys. Run no rebuild before: the search index may still hold what these records say."

// watchRoots looks, once after the start, whether every content on record still has its key: projections that are whole would not tell.
func (s *Server) watchRoots(ctx context.Context) error {
	lost, err := keyring.LostRoots(ctx, s.store.Journal, s.cfg.KeysDir())
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.Error("look for the keys of records", "error", err)
		s.board.Set(keysItem, health.Degraded, "whether every record has its key is not known: "+err.Error(), "chaperone verify says what cannot be read")
	case len(lost) > 0:
		s.log.Error(lost.Detail(), "do", restoreRoots)
		s.board.Set(keysItem, health.Failed, lost.Detail(), restoreRoots)
	case s.board.State(keysItem) == "":
		s.board.Set(keysItem, health.OK, "every content on record has its key", "")
	}
	return nil
}

// watchExposed looks at the start, and each minute, whether others can read the keys.
func (s *Server) watchExposed(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for was := ""; ; {
		what, do := keyring.ExposedWords(ctx, s.cfg.KeysDir())
		switch {
		case what == "":
			s.board.Set(exposedItem, health.OK, "keys are for their owner only", "")
		default:
			s.board.Set(exposedItem, health.Failed, what, do)
			if what != was {
				s.log.Error(what, "do", do)
			}
		}
		was = what
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// keysHealth says how many records are known to be unreadable because their keys are missing.
func (s *Store) keysHealth(ctx context.Context) error {
	n, err := s.projections.KeysLost(ctx)
	switch {
	case err != nil:
		return err
	case n > 0:
		detail := fmt.Sprintf("content not readable: its key is missing from keys/roots, of %d records", n)
		s.Log.Error(detail, "do", restoreKeys)
		s.Board.Set(keysItem, health.Failed, detail, restoreKeys)
	case s.Board.State(keysItem) != "":
		s.Board.Set(keysItem, health.OK, "", "")
	}
	return nil
}

// remade is a file of the keys folder that was made anew beside records.
type remade struct{ name, what, do string }

// sayNew says, before a secret is made, that one is missing beside a journal with records.
func (s *Store) sayNew(path, meaning string) {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || !s.records() {
		return
	}
	name := filepath.Base(path)
	s.say(remade{name, name + " was missing from the keys folder beside a journal with records, and is made anew: " + meaning,
		"Stop serve, restore " + name + " from the backup of the keys, and start it again."})
}

// say puts it into the log and on the board, and keeps it for the record.
func (s *Store) say(r remade) {
	s.Log.Error(r.what, "do", r.do)
	s.Board.Set("key "+r.name, health.Degraded, r.what, r.do)
	s.remade = append(s.remade, r)
}

// publish writes the verifier key where it is missing or another one: nobody could verify, or would be told that all is broken.
func (s *Store) publish(key *ledger.Key, keys string) error {
	wrong, err := key.Publish(keys)
	if err == nil && wrong != "" {
		s.say(remade{"ledger.pub", "ledger.pub was made anew from ledger.key: " + wrong, "Find out who changed the keys folder; compare it with the verifier key that was noted outside."})
	}
	return err
}

// recordRemade puts on record what was made anew: health forgets it with the process.
func (s *Store) recordRemade(ctx context.Context) error {
	for _, r := range s.remade {
		act := &event.Event{Kind: event.Act, Phase: ActRemade, Connector: "serve", Content: event.Content{Act: &event.ActDetail{Action: ActRemade, Object: r.name, Details: []event.Fact{{Name: "what", Value: r.what}}}}}
		if err := s.Recorder.Record(ctx, act); err != nil {
			return err
		}
	}
	s.remade = nil
	return nil
}

// ActRemade is the action of the act that a file of the keys folder was made anew.
const ActRemade = "keys.remade"

// checkNames says that the map of names is lost: every name gets another id than it has on record, and nothing else would show it.
func (s *Store) checkNames(ctx context.Context) error {
	if s.names.Len() > 0 {
		return nil
	}
	named, err := keyring.HasNames(ctx, s.Journal)
	if named {
		s.say(remade{"names.log", "names.log is empty beside records that name people, rooms or hosts: names get other ids than before, and what goes by an id, as day rolls do, misses what was before",
			"Stop serve, restore names.log and names.key, both of one time, from the backup of the data directory, and start it again."})
	}
	return err
}
