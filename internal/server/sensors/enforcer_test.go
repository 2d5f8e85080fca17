package sensors_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server/sensors"
)

// TestEnforcerLog: what another enforcer stopped becomes a record of the machine that its log names, with an id that a second reading gives again;
// what cannot be recorded waits.
func TestEnforcerLog(t *testing.T) {
	d, x := world(t)
	log := filepath.Join(t.TempDir(), "enforcers.log")
	lines := "Nov 25 22:30:01 laptop-17 fapolicyd[812]: rule=2 dec=deny_syslog perm=execute auid=1000 pid=23148 exe=/usr/bin/dash : path=/usr/bin/telegram-desktop ftype=application/x-executable trust=0\n" +
		"Nov 25 22:30:02 laptop-17 fapolicyd[812]: rule=9 dec=allow perm=execute auid=1000 pid=1 exe=/usr/bin/dash : path=/bin/true ftype=x trust=1\n"
	if err := os.WriteFile(log, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	x.broken <- errors.New("disk full")
	var ids []event.ID
	data := dataDir(t)
	for range 2 { // the second time from the beginning
		if err := os.RemoveAll(filepath.Join(data, "state", "logs")); err != nil {
			t.Fatal(err)
		}
		all, err := sensors.Enforcers([]config.EnforcerLog{{Format: "fapolicyd", Path: log}}, func(p string) string { return p }, data, d)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- all[0].Run(ctx) }()
		e := next(t, x.recorded)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		ids = append(ids, e.ID)
		if e.Kind != event.ProgramRun || e.Connector != "log-fapolicyd" || e.Host.Name != "laptop-17" || e.Program.Path != "/usr/bin/telegram-desktop" || e.Program.App != "telegram" ||
			e.Evidence[0].Fact != "enforcer:fapolicyd" || !strings.Contains(e.Explanation, "fapolicyd stopped it: rule=2") {
			t.Errorf("%+v", e)
		}
	}
	if ids[0] != ids[1] {
		t.Errorf("ids %v", ids)
	}
	if _, err := sensors.Enforcers([]config.EnforcerLog{{Format: "evtx", Path: log}}, func(p string) string { return p }, dataDir(t), d); err == nil {
		t.Error("no such format")
	}
}
