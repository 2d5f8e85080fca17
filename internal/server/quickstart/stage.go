package quickstart

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Names within a stage.
const (
	stageName = ".quickstart"
	wholeName = "whole.json" // says that everything is made, and with which options
)

// stage is where everything is made: a hidden folder in the folder of the configuration and one in the data directory, for the two may lie on
// different file systems.
type stage struct {
	o    Options
	lock *os.File
}

func open(o Options) (*stage, error) {
	s := &stage{o: o}
	if err := os.MkdirAll(s.ofDir(), 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.lock, err = os.Open(s.ofDir()); err != nil {
		return nil, err
	}
	err = unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	mine, statErr := s.lock.Stat()
	there, goneErr := os.Stat(s.ofDir())
	if err != nil || statErr != nil || goneErr != nil || !os.SameFile(mine, there) {
		s.close()
		return nil, fmt.Errorf("another quickstart is at work in %s", o.Dir)
	}
	return s, nil
}

func (s *stage) close() { s.lock.Close() }

func (s *stage) ofDir(names ...string) string {
	return filepath.Join(append([]string{s.o.Dir, stageName}, names...)...)
}

func (s *stage) ofData(names ...string) string {
	return filepath.Join(append([]string{s.o.data(), stageName}, names...)...)
}

// piece is a file or folder that is made in one place and belongs in another.
type piece struct{ from, to string }

// pieces lists all, in the order in which they are moved: with the configuration everything is there.
func (s *stage) pieces() []piece {
	var out []piece
	for _, name := range []string{"keys", "state"} {
		out = append(out, piece{s.ofData(name), filepath.Join(s.o.data(), name)})
	}
	for _, name := range []string{"recovery-shares", "policy.yaml", "people.csv", "notice.md", "chaperone.yaml"} {
		out = append(out, piece{s.ofDir(name), filepath.Join(s.o.Dir, name)})
	}
	return out
}

// free refuses to begin where anything of it is there already.
func (s *stage) free() error {
	if s.o.Data != "" {
		entries, err := os.ReadDir(s.o.Data)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if !slices.Contains(beside(), e.Name()) {
				return fmt.Errorf("%s is not empty; quickstart never makes keys beside other data", s.o.Data)
			}
		}
	}
	for _, p := range append(s.pieces(), piece{to: filepath.Join(s.o.data(), "journal")}) {
		if exists(p.to) {
			return fmt.Errorf("%w: %s", ErrSetUp, p.to)
		}
	}
	return nil
}

// beside are what keys may be made beside: what an agent keeps until it can be put on record, and what was quarantined.
func beside() []string { return []string{stageName, "agent", "quarantine"} }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// complete reports whether an earlier run made everything and was cut short after. What one left that was cut short before is removed: nobody
// has used it.
func (s *stage) complete() (bool, error) {
	raw, err := outside.ReadFile(s.ofDir(wholeName), 64<<10)
	if errors.Is(err, os.ErrNotExist) {
		return false, s.empty()
	}
	if err != nil {
		return false, err
	}
	var was Options
	if err := json.Unmarshal(raw, &was); err != nil {
		return false, fmt.Errorf("%s: %w", s.ofDir(wholeName), err)
	}
	if exists(filepath.Join(s.o.data(), "journal")) { // it ended, but for this folder, and was used since
		return false, s.empty()
	}
	was.Dir = s.o.Dir // it may have been moved
	if was != s.o {
		return false, fmt.Errorf("an earlier quickstart in %s was cut short, with other options: --profile %s --domain %s --console %s --shares %d --needed %d --data %q; run it again with them, and it is finished",
			s.o.Dir, was.Profile, was.Domain, was.Console, was.Shares, was.Needed, was.Data)
	}
	return true, nil
}

// empty removes what is staged, and leaves the folder that is locked.
func (s *stage) empty() error {
	entries, err := os.ReadDir(s.ofDir())
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(s.ofDir(e.Name())))
	}
	return errors.Join(err, os.RemoveAll(s.ofData()))
}

func (s *stage) remove() error { return errors.Join(s.empty(), os.Remove(s.ofDir())) }

// make makes everything, durably.
func (s *stage) make(rules []byte) error {
	parsed, err := policy.Parse("policy.yaml", rules)
	if err != nil {
		return err
	}
	for _, dir := range []string{s.ofData("keys"), s.ofDir("recovery-shares")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := makeKeys(s.o, s.ofData("keys"), s.ofDir("recovery-shares")); err != nil {
		return err
	}
	if err := makeAccounts(s.ofData()); err != nil {
		return err
	}
	people := "person,name,handle,host,address,from,to,groups\n# alice,Alice Example,alice@" + s.o.Domain + ",laptop-17,10.0.0.17,,,sales\n"
	for _, f := range []struct{ name, text string }{{"policy.yaml", string(rules)}, {"people.csv", people}, {"notice.md", noticeText(s.o, parsed)}, {"chaperone.yaml", configText(s.o)}} {
		if err := durable.Create(s.ofDir(f.name), []byte(f.text), 0o640); err != nil {
			return err
		}
	}
	for _, dir := range []string{s.ofData(), s.o.data(), s.ofDir(), s.o.Dir} {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	options, err := json.Marshal(s.o)
	if err != nil {
		return err
	}
	return durable.Replace(s.ofDir(wholeName), options, 0o600)
}

// place moves everything where it belongs; beforeLast is done when all but the configuration is there.
func (s *stage) place(beforeLast func() error) error {
	all := s.pieces()
	for i, p := range all {
		if i == len(all)-1 {
			if err := beforeLast(); err != nil {
				return err
			}
		}
		if err := p.move(); err != nil {
			return err
		}
	}
	return s.remove()
}

// move moves a piece, unless an earlier run did, and never over anything.
func (p piece) move() error {
	if !exists(p.from) {
		if !exists(p.to) {
			return fmt.Errorf("%s is gone, where an earlier quickstart had put it", p.to)
		}
		return nil
	}
	err := unix.Renameat2(unix.AT_FDCWD, p.from, unix.AT_FDCWD, p.to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %s", ErrSetUp, p.to)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot refuse
		if exists(p.to) {
			return fmt.Errorf("%w: %s", ErrSetUp, p.to)
		}
		err = os.Rename(p.from, p.to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: p.from, New: p.to, Err: err}
	}
	return errors.Join(durable.SyncDir(filepath.Dir(p.to)), durable.SyncDir(filepath.Dir(p.from)))
}
