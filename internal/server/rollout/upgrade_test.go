package rollout_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// made makes a bundle of that day.
func (m maker) made(t *testing.T, serial uint64, day time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := bundle.Pack(&b, birds("pigeon.example"), bundle.Info{Serial: serial, Created: day, Expires: day.AddDate(1, 0, 0)}, m.secret); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func day(text string) time.Time {
	t, _ := time.Parse(time.DateOnly, text)
	return t
}

// TestUpgrade: of the bundle in force and the catalog of the program the newer one is in force, once for each program: what was chosen since
// stays, and a program that is put back brings the bundle back.
func TestUpgrade(t *testing.T) {
	m := newMaker(t)
	dir := t.TempDir()
	program := func(edition string) *rollout.Depot {
		return rollout.OpenDepot(dir, []string{m.verifier}).Built(day(edition))
	}
	told := 0
	tell := func(_, _ rollout.State) error { told++; return nil }
	take := func(d *rollout.Depot, serial uint64, made string) {
		t.Helper()
		if _, err := d.Accept(t.Context(), m.made(t, serial, day(made)), now); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Stage(serial, now); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Promote(false, now); err != nil {
			t.Fatal(err)
		}
	}
	starts := func(d *rollout.Depot, inForce, superseded uint64, acts int) {
		t.Helper()
		told = 0
		s, err := d.Current()
		if err != nil || s.InForce != inForce {
			t.Errorf("read: %+v, %v; want %d", s, err, inForce)
		}
		for range 2 { // the second time there is nothing to do
			if s, err = d.Upgrade(now, tell); err != nil || s.InForce != inForce || s.Superseded != superseded {
				t.Errorf("%+v, %v; want %d, %d gave way", s, err, inForce, superseded)
			}
		}
		if told != acts {
			t.Errorf("%d acts, want %d", told, acts)
		}
	}
	starts(program("2026-03-01"), 0, 0, 0) // a new installation
	take(program("2026-03-01"), 1, "2026-05-01")
	starts(program("2026-03-01"), 1, 0, 0)
	starts(program("2026-04-01"), 1, 0, 0) // newer, and older than the bundle
	starts(program("2026-05-01"), 1, 0, 0) // of the same day
	starts(program("2026-06-01"), 0, 1, 1)
	if s, _ := program("2026-06-01").State(); !strings.Contains(s.BuiltIn(), "number 1 is older") {
		t.Error(s.BuiltIn())
	}
	starts(program("2026-04-01"), 1, 0, 1) // put back
	starts(program("2026-07-01"), 0, 1, 1)
	if _, err := program("2026-07-01").Rollback(1, "it stops our own", now); err != nil {
		t.Fatal(err)
	}
	starts(program("2026-07-01"), 1, 0, 0) // chosen
	starts(program("2026-08-01"), 0, 1, 1) // and a program later it is old again
	take(program("2026-08-01"), 2, "2026-09-01")
	starts(program("2026-08-01"), 2, 0, 0)
}

// TestUpgradeOfATrial: a bundle that is tried and older than the program's own catalog is given up; a newer one is tried on.
func TestUpgradeOfATrial(t *testing.T) {
	m := newMaker(t)
	for made, want := range map[string]uint64{"2026-05-01": 0, "2026-07-01": 1} {
		dir := t.TempDir()
		d := rollout.OpenDepot(dir, []string{m.verifier}).Built(day("2026-03-01"))
		if _, err := d.Accept(t.Context(), m.made(t, 1, day(made)), now); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Stage(1, now); err != nil {
			t.Fatal(err)
		}
		s, err := d.Built(day("2026-06-01")).Upgrade(now)
		if err != nil || s.Candidate != want || (s.Refused != nil) != (want == 0) {
			t.Errorf("%s: %+v, %v", made, s, err)
		}
	}
}

// TestUpgradeUntold: when the act cannot be recorded, the file stays as it is; a bundle that cannot be read is not judged.
func TestUpgradeUntold(t *testing.T) {
	m := newMaker(t)
	dir := t.TempDir()
	d := rollout.OpenDepot(dir, []string{m.verifier}).Built(day("2026-03-01"))
	if _, err := d.Accept(t.Context(), m.made(t, 1, day("2026-05-01")), now); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stage(1, now); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Promote(false, now); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	d.Built(day("2026-06-01"))
	if _, err := d.Upgrade(now, func(_, _ rollout.State) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	if s, _ := d.State(); s.InForce != 1 {
		t.Errorf("%+v", s)
	}
	if s, err := rollout.OpenDepot(dir, nil).Built(day("2026-06-01")).Upgrade(now); err != nil || s.InForce != 1 {
		t.Errorf("no key is trusted: %+v, %v", s, err)
	}
}

// TestOlderThanBuiltIn: a bundle from before the program's own catalog is not taken in, unless the clock says that the program is of tomorrow.
func TestOlderThanBuiltIn(t *testing.T) {
	m := newMaker(t)
	b := m.made(t, 1, day("2026-05-01"))
	d := rollout.OpenDepot(t.TempDir(), []string{m.verifier}).Built(day("2026-06-01"))
	if _, err := d.Accept(t.Context(), b, day("2026-06-02")); !errors.Is(err, rollout.ErrOld) || !strings.Contains(err.Error(), "is of 2026-06-01") {
		t.Error(err)
	}
	if _, err := d.Accept(t.Context(), b, day("2026-05-02")); err != nil {
		t.Error(err)
	}
	if rollout.Edition().IsZero() {
		t.Error("the built-in catalog has no day")
	}
}
