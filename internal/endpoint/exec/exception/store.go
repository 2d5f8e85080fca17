package exception

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
)

const (
	maxFile  = 4 << 20
	maxTries = 5 // wrong codes of one user a minute
)

// Exception is one program that was approved.
type Exception struct {
	SHA256 string    `json:"sha256"`
	Until  time.Time `json:"until"`
	Code   string    `json:"code,omitempty"` // that approved it, kept so that it is taken once
	By     string    `json:"by"`             // who gave the code in
	Since  time.Time `json:"since"`
	// Withdrawn is when it ended before its time. It is kept until that, so that its code is not taken again.
	Withdrawn time.Time `json:"withdrawn,omitzero"`
}

// Store keeps exceptions in a file. It is safe for concurrent use.
type Store struct {
	path   string
	secret []byte
	host   string
	damage error

	mu    sync.RWMutex
	all   []Exception
	until map[string]time.Time   // by hash
	tries map[string][]time.Time // wrong codes of the last minute, by who gave them in
}

// Open opens the store in a folder. Without a secret no code is taken. A file that cannot be read approves nothing, and is no reason to decide
// nothing at all: it is set aside, and Damage tells of it.
func Open(dir, host string, secret []byte) *Store {
	s := &Store{path: filepath.Join(dir, "exceptions.json"), secret: secret, host: host, until: map[string]time.Time{}, tries: map[string][]time.Time{}}
	all, err := load(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		s.damage = fmt.Errorf("exceptions: %w", errors.Join(err, os.Rename(s.path, s.path+".damaged")))
	default:
		s.all = all
		s.index()
	}
	return s
}

// load reads the file.
func load(path string) ([]Exception, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	var all []Exception
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// Damage says why what was approved earlier is not known, nil when it is.
func (s *Store) Damage() error { return s.damage }

func (s *Store) index() {
	clear(s.until)
	for _, e := range s.all {
		if e.Withdrawn.IsZero() && e.Until.After(s.until[e.SHA256]) {
			s.until[e.SHA256] = e.Until
		}
	}
}

// Approved reports whether a program is approved now.
func (s *Store) Approved(sha256 string, now time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.until[sha256].After(now)
}

// Redeem takes a code that somebody gives in, and returns until when the program is approved. What record refuses is not approved.
func (s *Store) Redeem(sha256, code, by string, now time.Time, record func(until time.Time) error) (time.Time, error) {
	if len(s.secret) == 0 {
		return time.Time{}, ErrNone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for who, times := range s.tries {
		if now.Sub(times[len(times)-1]) > time.Minute {
			delete(s.tries, who)
		}
	}
	if recent := s.tries[by]; len(recent) >= maxTries && now.Sub(recent[len(recent)-maxTries]) <= time.Minute {
		return time.Time{}, ErrOften
	}
	until, err := Verify(s.secret, s.host, sha256, code, now)
	if err != nil {
		last := s.tries[by]
		s.tries[by] = append(last[max(0, len(last)-maxTries+1):], now)
		return time.Time{}, err
	}
	kept := make([]Exception, 0, len(s.all)+1)
	for _, e := range s.all {
		if plain(e.Code) == plain(code) {
			return time.Time{}, ErrUsed
		}
		if e.Until.After(now) {
			kept = append(kept, e)
		}
	}
	kept = append(kept, Exception{SHA256: sha256, Until: until, Code: code, By: by, Since: now})
	if err := s.keep(kept, func() error { return record(until) }); err != nil {
		return time.Time{}, err
	}
	return until, nil
}

// Withdraw ends what approves a program, and returns how many exceptions that were. What record refuses stays in force.
func (s *Store) Withdraw(sha256 string, now time.Time, record func() error) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := slices.Clone(s.all)
	n := 0
	for i := range kept {
		if e := &kept[i]; e.SHA256 == sha256 && e.inForce(now) {
			e.Withdrawn = now
			n++
		}
	}
	if n == 0 {
		return 0, ErrUnknown
	}
	return n, s.keep(kept, record)
}

// keep puts other exceptions in the place of those there are, once they are on record and in the file.
func (s *Store) keep(all []Exception, record func() error) error {
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := record(); err != nil {
		return err
	}
	if err := durable.Replace(s.path, b, 0o600); err != nil {
		return fmt.Errorf("exceptions: %w", err)
	}
	s.all = all
	s.index()
	return nil
}

func (e *Exception) inForce(now time.Time) bool { return e.Withdrawn.IsZero() && e.Until.After(now) }

// List returns what is approved now.
func (s *Store) List(now time.Time) []Exception {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var in []Exception
	for i := range s.all {
		if s.all[i].inForce(now) {
			in = append(in, s.all[i])
		}
	}
	return in
}
