package rollout

import (
	"fmt"
	"time"

	builtin "github.com/chaperone-im/chaperone/catalog"
)

// Edition is the day of the catalog that is built into this program.
func Edition() time.Time {
	t, err := time.Parse(time.DateOnly, builtin.Edition)
	if err != nil {
		return time.Time{} // a test keeps this from being
	}
	return t
}

// Current returns the state as this program must take it: when the program was upgraded, and its built-in catalog is newer than the bundle in
// force, the built-in one is in force, whatever the file says until Upgrade has written it.
func (d *Depot) Current() (State, error) {
	s, err := d.State()
	if err == nil {
		d.decide(&s, time.Time{})
	}
	return s, err
}

// Upgrade makes the newest catalog that is here the one in force after the program was exchanged for another, and tells of it. What an
// administrator chose since stays; a program that is put back brings the bundle back that had given way.
func (d *Depot) Upgrade(now time.Time, tell ...func(before, after State) error) (State, error) {
	s, err := d.State()
	if err != nil {
		return s, err
	}
	after := s
	if d.decide(&after, now); after == s {
		return s, nil
	}
	if after.InForce == s.InForce && after.Candidate == s.Candidate { // only the day is noted
		tell = nil
	}
	return d.change(func(s *State) error {
		d.decide(s, now)
		return nil
	}, tell...)
}

// decide compares what is in force, and what is tried, with the built-in catalog, once for each program. A bundle that cannot be read is left
// to the one who loads it.
func (d *Depot) decide(s *State, now time.Time) {
	switch day := d.edition; {
	case day.IsZero(), s.Edition.Equal(day), s.InForce == 0 && s.Candidate == 0 && s.Superseded == 0:
		return
	case s.InForce == 0 && s.Superseded != 0 && d.made(s.Superseded).After(day):
		s.InForce, s.Superseded, s.Since = s.Superseded, 0, now.UTC()
	case s.InForce != 0 && d.olderThan(day, s.InForce):
		s.InForce, s.Superseded, s.Previous = 0, s.InForce, 0
		s.Since, s.Promoted = now.UTC(), time.Time{}
	}
	if s.Candidate != 0 && d.olderThan(d.edition, s.Candidate) {
		s.Refused = &Refusal{s.Candidate, now.UTC(), d.tooOld(d.made(s.Candidate)).Error()}
		s.Candidate, s.Stage, s.Staged = 0, None, time.Time{}
	}
	s.Edition = d.edition
}

// made is when a bundle that is kept was made; the zero time when nobody can tell.
func (d *Depot) made(serial uint64) time.Time {
	info, _, err := d.Files(serial)
	if err != nil {
		return time.Time{}
	}
	return info.Created
}

func (d *Depot) olderThan(day time.Time, serial uint64) bool {
	made := d.made(serial)
	return !made.IsZero() && made.Before(day)
}

func (d *Depot) tooOld(made time.Time) error {
	return fmt.Errorf("%w: it was made on %s, and the catalog that is built into this program is of %s", ErrOld, made.Format(time.DateOnly), d.edition.Format(time.DateOnly))
}

// BuiltIn says of the built-in catalog, when it is in force, what it is.
func (s *State) BuiltIn() string {
	text := "built into this program, of " + builtin.Edition
	if s.Superseded != 0 {
		text += fmt.Sprintf("; number %d is older and gave way to it", s.Superseded)
	}
	return text
}
