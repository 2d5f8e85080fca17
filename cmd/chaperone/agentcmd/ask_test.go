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
		return (&requestCmd{Door: door, File: file, Code: "WRONG"}).Run(&command.Env{Ctx: context.Background(), Out: &out, ErrOut: &out})
	}
	if h := hint.Of(ask()); !strings.Contains(h, "agent status") {
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
		exception.ErrOften: "five wrong codes a minute", errors.New("no room"): "agent status",
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
	if os.Geteuid() != 0 {
		t.Skip("needs root: others are told that first")
	}
	c := &runCmd{}
	c.Config = filepath.Join(t.TempDir(), "none.yaml")
	var out bytes.Buffer
	if err := c.Run(&command.Env{Ctx: context.Background(), Out: &out, ErrOut: &out}); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing configuration is told as %v", err)
	}
}
