package agentcmd

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
)

// TestExceptions lists what an agent says was approved, without what a name may do to a terminal, and withdraws by hash and by file.
func TestExceptions(t *testing.T) {
	dir := t.TempDir()
	door, file := filepath.Join(dir, "agent.sock"), filepath.Join(dir, "client")
	if err := os.WriteFile(file, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", door)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan agent.Request, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var r agent.Request
			_ = json.NewDecoder(c).Decode(&r)
			reply := &agent.Reply{Exceptions: 1, ID: "id"}
			if r.List {
				reply.Approved, reply.More = []exception.Exception{{SHA256: strings.Repeat("ab", 32), By: "al\x1b[2Jice", Until: time.Unix(1e9, 0).UTC()}}, 7
			}
			_ = json.NewEncoder(c).Encode(reply)
			_ = c.Close()
			asked <- r
		}
	}()
	run := func(c exceptionsCmd) string {
		t.Helper()
		c.Door = door
		var out bytes.Buffer
		if err := c.Run(&command.Env{Ctx: t.Context(), Out: &out, ErrOut: &out}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	got := run(exceptionsCmd{})
	if r := <-asked; !r.List || !strings.Contains(got, strings.Repeat("ab", 32)) || !strings.Contains(got, "2001-09-09T01:46:40Z") || strings.Contains(got, "\x1b") || !strings.Contains(got, "7 more") {
		t.Errorf("%+v: %s", r, got)
	}
	if got := run(exceptionsCmd{JSON: true}); !strings.Contains(got, `"type":"exception"`) {
		t.Error(got)
	}
	<-asked
	want, err := hash(file)
	if err != nil {
		t.Fatal(err)
	}
	for given, program := range map[string]string{file: want, strings.Repeat("cd", 32): strings.Repeat("cd", 32)} {
		got := run(exceptionsCmd{Withdraw: given, Reason: "left"})
		if r := <-asked; !r.Withdraw || r.SHA256 != program || r.Reason != "left" || !strings.Contains(got, program) {
			t.Errorf("%+v: %s", r, got)
		}
	}
}
