package agentcmd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
)

// TestHintsOfCodes: what helps fits why an agent did not take the code.
func TestHintsOfCodes(t *testing.T) {
	dir := t.TempDir()
	door, file := filepath.Join(dir, "agent.sock"), filepath.Join(dir, "client")
	if err := os.WriteFile(file, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		var out bytes.Buffer
		return (&requestCmd{doorFlags: doorFlags{Door: door}, File: file, Code: "WRONG"}).Run(&command.Env{Ctx: context.Background(), Out: &out, ErrOut: &out})
	}
	if h := hint.Of(ask()); !strings.Contains(h, "status chaperone-agent") || !strings.Contains(h, "--config") {
		t.Errorf("of an agent that does not run is said %q", h)
	}
	l, err := net.Listen("unix", door)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answers := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte(`{"error":"` + <-answers + `"}`))
			_ = c.Close()
		}
	}()
	for err, want := range map[error]string{
		exception.ErrCode: "one host name, one sha256 and one time", exception.ErrExpired: "new code", exception.ErrUsed: "new code",
		exception.ErrOften: "five wrong codes a minute", exception.ErrNone: "no secret", exception.ErrUnknown: "agent exceptions", errors.New("no room"): "agent status",
	} {
		answers <- err.Error()
		got := ask()
		if h := hint.Of(got); got == nil || got.Error() != err.Error() || !strings.Contains(h, want) {
			t.Errorf("%v: %v, hint %q", err, got, h)
		}
	}
}

// TestConfigurationFirst: a file that is missing is said whatever the machine is.
func TestConfigurationFirst(t *testing.T) {
	c := &runCmd{}
	c.Config = filepath.Join(t.TempDir(), "none.yaml")
	var out bytes.Buffer
	if err := c.Run(&command.Env{Ctx: context.Background(), Out: &out, ErrOut: &out}); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing configuration is told as %v", err)
	}
}

// TestDoor finds the socket of the agent: the one that is named, that of the configuration, the usual one.
func TestDoor(t *testing.T) {
	dir := t.TempDir()
	config, plain := filepath.Join(dir, "agent.yaml"), filepath.Join(dir, "plain.yaml")
	for path, text := range map[string]string{config: "agent: {socket: agent.sock}\n", plain: "agent: {mode: monitor}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const standard = "/run/chaperone/agent.sock"
	other := filepath.Join(dir, "agent.sock") // beside the configuration that names it
	if _, err := os.Stat(standard); err == nil {
		other = standard
	}
	for _, test := range []struct {
		flags       doorFlags
		usual, want string
	}{
		{doorFlags{Door: "/named"}, config, "/named"},
		{doorFlags{Door: "/named", Config: config}, config, "/named"},
		{doorFlags{Config: config}, plain, filepath.Join(dir, "agent.sock")},
		{doorFlags{Config: plain}, config, standard},
		{doorFlags{}, filepath.Join(dir, "none.yaml"), standard},
		{doorFlags{}, plain, standard},
		{doorFlags{}, config, other},
	} {
		if got, err := test.flags.door(test.usual); got != test.want || err != nil {
			t.Errorf("%+v, %s: %q, %v", test.flags, filepath.Base(test.usual), got, err)
		}
	}
	if _, err := (&doorFlags{Config: filepath.Join(dir, "none.yaml")}).door(plain); err == nil {
		t.Error("a configuration that is not there was read")
	}
}

// TestOwnRights: who may not read the configuration is told that root is needed.
func TestOwnRights(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	config := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(config, nil, 0o000); err != nil {
		t.Fatal(err)
	}
	c := &runCmd{}
	c.Config = config
	if err := c.Run(&command.Env{Ctx: context.Background()}); err == nil || !strings.Contains(err.Error(), "needs root") {
		t.Error(err)
	}
}
