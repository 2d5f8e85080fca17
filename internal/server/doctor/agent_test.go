package doctor_test

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/server/doctor"
)

// TestMember examines a machine of a fleet: it needs neither keys nor a record, but an agent that decides as it is told.
func TestMember(t *testing.T) {
	m := newMachine(t)
	door := filepath.Join(t.TempDir(), "agent.sock")
	text := "data_dir: data\nagent: {server: \"https://chaperone.example.org:8444\", socket: " + door + "}\n"
	execution := func() (out string) {
		t.Helper()
		for _, f := range m.examine(text, doctor.Options{}) {
			switch f.Check {
			case "disk", "clock", "sandbox":
			case "execution control":
				out += string(f.State) + " " + f.What + "\n"
			default:
				t.Errorf("%s was looked at: %s", f.Check, f.What)
			}
		}
		return out
	}
	if got := execution(); !strings.Contains(got, "fail no agent answers at "+door) {
		t.Errorf("without an agent: %s", got)
	}
	l, err := net.Listen("unix", door)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var r agent.Request
			_ = json.NewDecoder(conn).Decode(&r)
			_ = json.NewEncoder(conn).Encode(&agent.Reply{Mode: "deny-list", Problem: "an old policy", Note: "it stops nothing"})
			_ = conn.Close()
		}
	}()
	got := execution()
	for _, want := range []string{"ok the agent decides, in mode deny-list\n", "fail an old policy\n", "warn it stops nothing\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}
