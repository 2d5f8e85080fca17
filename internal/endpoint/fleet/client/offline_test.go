package client_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// given enrols a machine, gives it a policy and an overlay, and returns its folder. The server is gone then.
func given(t *testing.T, o protocol.Overlay) string {
	t.Helper()
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	m.run(t)
	conn := s.stream()
	s.bundle(conn, protocol.AllHosts, 3, map[string]string{protocol.PolicyPart: text})
	if a := s.applied(conn); a.Error != "" {
		t.Fatal(a.Error)
	}
	overlay, err := protocol.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	s.bundle(conn, protocol.HostScope(s.host), 4, map[string]string{protocol.OverlayPart: string(overlay)})
	if a := s.applied(conn); a.Error != "" {
		t.Fatal(a.Error)
	}
	s.l.Close()
	conn.Close()
	return dir
}

// again starts a machine on the folder of one, without a server, at another time.
func again(t *testing.T, dir string, now time.Time) (*machine, error) {
	t.Helper()
	m := &machine{}
	var err error
	m.Client, err = client.New(t.Context(), client.Options{Dir: dir, Machine: client.Machine{Name: "laptop-17"}, Apply: m, Execute: m, Now: func() time.Time { return now }})
	return m, err
}

// TestNothingThatEndsOpens: without a server, years later, the policy is in force; what it allowed for a time is not.
func TestNothingThatEndsOpens(t *testing.T) {
	now := time.Now()
	dir := given(t, protocol.Overlay{Person: "alice", Held: true, Approvals: []protocol.Approval{
		{ID: "1", App: "signal", Until: now.Add(time.Hour), Reason: "x"}, {ID: "2", App: "telegram", Until: now.Add(72 * time.Hour), Reason: "x"}}})
	for name, c := range map[string]struct {
		at   time.Time
		left int
	}{"at once": {now, 2}, "at the very end": {now.Add(time.Hour), 1}, "a day later": {now.Add(24 * time.Hour), 1}, "years later": {now.AddDate(5, 0, 0), 0}} {
		m, err := again(t, dir, c.at)
		if err != nil || len(m.applied) != 1 {
			t.Fatalf("%s: %d times in force, %v", name, len(m.applied), err)
		}
		stored, err := client.Stored(t.Context(), dir, func() time.Time { return c.at })
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, b := range []client.Bundle{m.applied[0], stored} {
			if string(b.Policy) != text || b.Generation != 3 || b.Host != 4 || b.Person != "alice" || !b.Held || len(b.Approvals) != c.left {
				t.Errorf("%s: %+v", name, b)
			}
		}
	}
}

// TestDamagedFolder: of what is damaged nothing is in force, and it is said; the machine stays one that can be given another.
func TestDamagedFolder(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		usable bool
	}{"a manifest": {"fleet.manifest", true}, "that of the host": {"host.manifest", true}, "a part": {"parts/*", true}, "its key": {"agent.key", false}} {
		dir := given(t, protocol.Overlay{Person: "alice"})
		found, err := filepath.Glob(filepath.Join(dir, c.file))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", name, found, err)
		}
		for _, path := range found {
			if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m, err := again(t, dir, time.Now())
		if (err == nil) != c.usable || len(m.applied) != 0 {
			t.Errorf("%s: %v, %d times in force", name, err, len(m.applied))
		}
		if !c.usable {
			continue
		}
		if m.Current().Generation != 0 {
			t.Errorf("%s: generation %d in force", name, m.Current().Generation)
		}
		if _, err := client.Stored(t.Context(), dir, time.Now); err == nil {
			t.Errorf("%s: nothing is said", name)
		}
	}
}
