package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/loopback"
)

// said is what a command writes while it runs.
type said struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wants string
	met   chan struct{}
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if s.wants != "" && strings.Contains(s.text.String(), s.wants) {
		s.wants = ""
		close(s.met)
	}
	return len(p), nil
}

// TestServeSaysWhereItListens: each address that people use is printed, and every line of the first start's log is of our form.
func TestServeSaysWhereItListens(t *testing.T) {
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	d := onDisk(t, t.TempDir())
	if err := os.WriteFile(d.config(), []byte("policy: policy.yaml\nkeys: {unlock: \"file:data/keys/passphrase\"}\nmetrics: {listen: \""+at+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, log := &said{wants: "\n", met: make(chan struct{})}, &said{}
	status := make(chan int, 1)
	go func() {
		status <- run([]string{"serve", "--config", filepath.Join(d.dir, "chaperone.yaml")}, &command.Env{Ctx: ctx, In: strings.NewReader(""), Out: out, ErrOut: log})
	}()
	select {
	case <-out.met:
	case s := <-status:
		t.Fatalf("it ended with %d: %s", s, &log.text)
	}
	stop()
	if s := <-status; s != 0 {
		t.Errorf("exit status %d", s)
	}
	if want := fmt.Sprintf("metrics: http://%s/metrics, health: http://%s/healthz\n", at, at); out.text.String() != want {
		t.Errorf("it prints %q", out.text.String())
	}
	for line := range strings.Lines(log.text.String()) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" || strings.Contains(line, "POSIX log") || strings.Contains(line, "old checkpoint") {
			t.Errorf("the log has %s(%v)", line, err)
		}
	}
}
