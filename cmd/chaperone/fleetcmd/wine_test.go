package fleetcmd_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/winetest"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
)

// TestWine: our binary for Windows joins a fleet, scans the folders of people though nobody named them, and takes away and brings back what a
// campaign tells it to.
func TestWine(t *testing.T) {
	p := winetest.Ready(t)
	h := newHouse(t)
	h.serve()
	code := strings.TrimSpace(h.admin(0, "enroll-code"))
	h.has(p.Chaperone(t, 2, "fleet", "enroll", "--server", h.address, "--wait", "3s", code), "this machine's fingerprint is")
	h.has(h.admin(0, "pending"), "windows/amd64")
	h.admin(0, "approve", "--all")
	h.has(p.Chaperone(t, 0, "fleet", "enroll", "--server", h.address, code), "belongs to the fleet")

	app := p.Path(`C:\users\alice\AppData\Roaming\Telegram Desktop`)
	if err := os.MkdirAll(app, 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := scantest.WriteRenamedInstaller(app)
	if err != nil {
		t.Fatal(err)
	}
	once := []string{"fleet", "once", `C:\chaperone.exe`}
	h.has(p.Chaperone(t, 1, once...), "1 programs that it forbids; 0 reports wait")
	h.has(h.admin(0, "hosts", "--programs", "--json"), `"app":"telegram"`, `AppData\\Roaming\\Telegram Desktop\\holiday.jpg`)

	planned := h.admin(0, "campaign", "plan", "--reason", "tests", "--sha256", installer(), "telegram")
	found := regexp.MustCompile(`(?s)campaign ([0-9a-f]+):.*plan ([0-9a-f]{64})`).FindStringSubmatch(planned)
	if found == nil {
		t.Fatal(planned)
	}
	id := found[1]
	h.admin(0, "campaign", "start", "--all", "--no-canary", "--plan", found[2], id)
	p.Chaperone(t, 0, once...)
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Fatalf("the campaign did not take it: %v\n%s", err, h.admin(0, "campaign", "show", id))
	}
	h.admin(0, "campaign", "undo", id)
	p.Chaperone(t, 1, append(once, `C:\users`)...)
	if _, err := os.Lstat(file); err != nil {
		t.Errorf("it did not come back: %v\n%s", err, h.admin(0, "campaign", "show", id))
	}
}
