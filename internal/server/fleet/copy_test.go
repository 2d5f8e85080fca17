package fleet_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// copyOf is the machine of an agent as a snapshot of its disk holds it.
func (a *agent) copyOf() *agent {
	a.r.t.Helper()
	b := *a
	b.dir = filepath.Join(a.r.t.TempDir(), "copy")
	if err := os.CopyFS(b.dir, os.DirFS(a.dir)); err != nil {
		a.r.t.Fatal(err)
	}
	return &b
}

// finds has the agent run for as long as it takes to hand up what it found.
func (a *agent) finds(paths ...string) {
	a.r.t.Helper()
	a.run()
	defer a.stop()
	for _, p := range paths {
		body, err := protocol.EncodeEvent(finding(p))
		if err != nil {
			a.r.t.Fatal(err)
		}
		if err := a.spool.Add(protocol.Item{Kind: protocol.EventItem, Body: body}); err != nil {
			a.r.t.Fatal(err)
		}
	}
	eventually(a.r.t, "all is handed up", func() bool { return a.spool.Waiting() == 0 })
}

// found counts the findings by their path, and the gaps.
func (r *rig) foundAt() (paths []string, gaps []string) {
	for _, e := range r.found.list() {
		switch e.Kind {
		case event.FindingHit:
			paths = append(paths, e.Program.Path)
		case event.Gap:
			gaps = append(gaps, e.Explanation)
		}
	}
	slices.Sort(paths)
	return paths, gaps
}

// TestCopiedState: a snapshot is restored, or a disk was copied, and both go on counting from the same number. Nothing of either is lost, and
// that it happened is on record each time.
func TestCopiedState(t *testing.T) {
	for _, many := range []int{1, 6} { // fewer than the other said meanwhile, and more
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			r := newRig(t)
			a := r.enrol("laptop-17")
			a.finds("/before")
			b := a.copyOf()
			a.finds("/a1", "/a2")
			a.finds("/a3")
			var more []string
			for i := range many {
				more = append(more, fmt.Sprintf("/b%d", i))
			}
			b.finds(more...)
			if w := b.Copied(); !strings.Contains(w, "is a copy, or was restored") {
				t.Errorf("the copy is told %q", w)
			}
			want := append([]string{"/a1", "/a2", "/a3"}, append(slices.Clone(more), "/before")...)
			paths, gaps := r.foundAt()
			if !slices.Equal(paths, want) {
				t.Errorf("on record are %q, not %q", paths, want)
			}
			if len(gaps) != 1 || !strings.Contains(gaps[0], "restored") {
				t.Errorf("gaps: %q", gaps)
			}
			b.finds("/b-later") // it is the only one now
			if w := b.Copied(); w != "" {
				t.Errorf("it is told again: %q", w)
			}
			a.finds("/a-later")
			if a.Copied() == "" {
				t.Error("the first is not told")
			}
			h, err := r.Host(a.ID())
			if err != nil || h.Seen.Copied.IsZero() {
				t.Errorf("%+v, %v", h.Seen, err)
			}
			if paths, gaps := r.foundAt(); len(paths) != len(want)+2 || len(gaps) != 2 {
				t.Errorf("on record are %q and %q", paths, gaps)
			}
		})
	}
}

// TestLostWelcome: a connection that ends before the agent has kept its turn makes no copy of it, nor does a server that forgot a minute.
func TestLostWelcome(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.finds("/one")
	kept, err := os.ReadFile(filepath.Join(a.dir, "turn"))
	if err != nil {
		t.Fatal(err)
	}
	a.hello(a.dial(), protocol.WelcomeFrame) // says nothing more
	a.finds("/two")
	if a.Copied() != "" {
		t.Error(a.Copied())
	}
	if now, err := os.ReadFile(filepath.Join(a.dir, "turn")); err != nil || string(now) == string(kept) {
		t.Errorf("the turn stays %s, %v", now, err)
	}
	r.stop()
	if err := os.Remove(filepath.Join(r.dir, "state", "fleet", "seen.json")); err != nil {
		t.Fatal(err)
	}
	r.start()
	a.finds("/three")
	if _, gaps := r.foundAt(); a.Copied() != "" || len(gaps) > 0 {
		t.Errorf("%q, %q", a.Copied(), gaps)
	}
	if err := os.WriteFile(filepath.Join(a.dir, "turn"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.finds("/four")
}
