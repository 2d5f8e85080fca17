package server_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/mail/mailtest"
	"github.com/chaperone-im/chaperone/internal/server"
)

// TestCheckpointsByMail: serve mails a checkpoint by the server of the alerts, and is well when that took it.
func TestCheckpointsByMail(t *testing.T) {
	post := mailtest.Start(t, nil)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), fmt.Sprintf(`ledger: {checkpoints: ["mailto:auditor@example.net"]}
alerts: {mail: {server: %q, from: chaperone@example.org, to: [admin@example.org]}}
`, post.Address))
	if err := server.Check(h.cfg); err != nil {
		t.Fatal(err)
	}
	h.serve()
	for deadline := time.After(2 * time.Minute); ; {
		select {
		case got := <-post.Mails:
			if got.To[0] != "auditor@example.net" {
				continue // an alert
			}
			if !strings.Contains(got.Text, "checkpoint-0000") {
				t.Errorf("mailed: %s", got.Text)
			}
			return
		case <-deadline:
			t.Fatal("no checkpoint was mailed")
		}
	}
}

func TestCheckpointsByMailNeedAServer(t *testing.T) {
	c, err := config.Parse([]byte(`ledger: {checkpoints: ["mailto:auditor@example.net"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Check(c); err == nil || !strings.Contains(err.Error(), "alerts.mail names it") {
		t.Errorf("%v", err)
	}
}
