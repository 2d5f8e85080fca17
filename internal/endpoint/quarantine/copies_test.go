package quarantine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
)

// TestPurgeCopies deletes copies of removed packages by the rules of what is in quarantine: by their time, never under a hold, and on record first.
func TestPurgeCopies(t *testing.T) {
	dir, ctx := realTemp(t), t.Context()
	r := &recorder{}
	s := open(t, dir, quarantine.Options{Recorder: r})
	if copies, err := s.Copies(); err != nil || len(copies) != 0 {
		t.Fatalf("%+v, %v", copies, err)
	}
	packages := filepath.Join(s.Dir(), "packages")
	young, old, other := filepath.Join(packages, "a_1.deb"), filepath.Join(packages, "b_2.deb"), filepath.Join(packages, "making")
	if err := os.Mkdir(packages, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{young, old, other} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(other, filepath.Join(packages, "link.deb")), os.Chtimes(old, time.Time{}, time.Now().Add(-40*24*time.Hour))); err != nil {
		t.Fatal(err)
	}
	copies, err := s.Copies()
	if err != nil || len(copies) != 2 || copies[0].Path != young || copies[1].Name != "b_2.deb" {
		t.Fatalf("%+v, %v", copies, err)
	}
	const month = 30 * 24 * time.Hour
	if err := s.DueCopy(copies[1], month); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name string
		age  time.Duration
		want error
	}{{"a_1.deb", month, quarantine.ErrTooYoung}, {"a_1.deb", 0, quarantine.ErrTooYoung}, {"b_2.deb", 50 * 24 * time.Hour, quarantine.ErrTooYoung},
		{"making", 0, quarantine.ErrNotFound}, {"c_3.deb", 0, fs.ErrNotExist}} {
		if err := s.PurgeCopy(ctx, c.name, c.age); !errors.Is(err, c.want) {
			t.Errorf("%s at %s: %v", c.name, c.age, err)
		}
	}
	for _, outside := range []string{"../../x", "/etc/hostname", "link.deb"} {
		if err := s.PurgeCopy(ctx, outside, 0); err == nil {
			t.Errorf("%s was deleted", outside)
		}
	}
	if len(r.acts) != 0 {
		t.Errorf("on record is what was not done: %q", r.acts)
	}
	under := open(t, dir, quarantine.Options{Recorder: r, Holds: held(true)})
	if err := under.PurgeCopy(ctx, "b_2.deb", month); !errors.Is(err, quarantine.ErrHeld) {
		t.Errorf("under a hold: %v", err)
	}
	r.fail = errors.New("disk full")
	if err := s.PurgeCopy(ctx, "b_2.deb", month); !errors.Is(err, r.fail) {
		t.Errorf("what was not recorded: %v", err)
	}
	r.watch, r.fail, r.acts = old, nil, nil
	if err := s.PurgeCopy(ctx, "b_2.deb", month); err != nil || r.early || !slices.Equal(r.acts, []string{"quarantine.purge " + old}) {
		t.Errorf("%v, recorded after it: %v, %q", err, r.early, r.acts)
	}
	if copies, err := s.Copies(); err != nil || len(copies) != 1 || copies[0].Path != young {
		t.Errorf("%+v, %v", copies, err)
	}
}
