package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/server"
)

// TestLogsAreSensors follows a log as it grows, across rotation and a restart: what policy stops is a record once, the rest is observed.
func TestLogsAreSensors(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "queries.log")
	say := func(name string) {
		t.Helper()
		f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "%s dnsmasq[7]: query[A] %s from 10.0.0.7\n", time.Now().Format(time.RFC3339), name)
		f.Close()
	}
	say("web.whatsapp.com")
	say("intranet.example")
	h := newHouse(t, filepath.Join(dir, "h"), fmt.Sprintf("network: {logs: [{format: dnsmasq, path: %q}]}\n", log))
	stop := h.serve()
	hits := func(n int, query string) {
		t.Helper()
		got := -1
		for deadline := time.Now().Add(2 * time.Minute); got != n && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			got = len(h.hits(query))
		}
		if got != n {
			t.Fatalf("%d hits of %s, want %d", got, query, n)
		}
	}
	hits(1, "kind:dns connector:log-dnsmasq rule:no-messengers")
	seen := func(name string) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
			if strings.Contains(h.must("observations", server.ObservationsArgs{Sign: as("reviewer")}), name) {
				return
			}
		}
		t.Fatalf("%s was not observed", name)
	}
	seen("intranet.example")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	say("discord.com")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	say("web.telegram.org")
	h.serve()
	hits(3, "kind:dns connector:log-dnsmasq rule:no-messengers")
	if h := h.must("health", struct{}{}); !strings.Contains(h, `"name":"log `+log) {
		t.Errorf("health does not speak of it: %s", h)
	}
}
