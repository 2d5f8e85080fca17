package fleet_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// TestInventoryIsOfRoots: a scan of one folder says nothing about another, and a scan of a folder all about it.
func TestInventoryIsOfRoots(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	begin := time.Now().UTC().Truncate(time.Second)
	step := 0
	for _, c := range []struct {
		paths, except, found string
		files                int64
		want                 string
		wantPaths            string
		wantFiles            int64
	}{
		{"/home", "", "/home/a/x /home/b/y", 10, "/home/a/x /home/b/y", "/home", 10},
		{"/opt", "", "/opt/z", 5, "/home/a/x /home/b/y /opt/z", "/home /opt", 15},
		{"/home/a", "", "", 1, "/home/b/y /opt/z", "/home /opt /home/a", 16},
		{"/hom", "", "", 0, "/home/b/y /opt/z", "/home /opt /home/a /hom", 16},
		{"/home /opt", "", "/opt/z2", 20, "/opt/z2", "/hom /home /opt", 20},
		{"/mnt/disk", "", "/mnt/disk/w", 3, "/mnt/disk/w /opt/z2", "/hom /home /opt /mnt/disk", 23},
		{"/", "/mnt", "/opt/z3", 100, "/mnt/disk/w /opt/z3", "/mnt/disk /", 103},
		{"", "", "/var/v", 7, "/var/v", "", 7},
	} {
		step++
		inv := protocol.Inventory{Scanned: begin.Add(time.Duration(step) * time.Second), Files: c.files, Paths: strings.Fields(c.paths), Except: strings.Fields(c.except)}
		for _, p := range strings.Fields(c.found) {
			inv.Programs = append(inv.Programs, telegram(p))
		}
		if err := a.Report(protocol.InventoryItem, inv); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the inventory is there", func() bool {
			h, err := r.Host(a.ID())
			return err == nil && h.Inventory != nil && h.Inventory.Scanned.Equal(inv.Scanned)
		})
		h, err := r.Host(a.ID())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range h.Inventory.Programs {
			got = append(got, p.Path)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want || strings.Join(h.Inventory.Paths, " ") != c.wantPaths || h.Inventory.Files != c.wantFiles {
			t.Errorf("after %q: %q of %q, %d files; want %s of %s, %d", c.paths, got, h.Inventory.Paths, h.Inventory.Files, c.want, c.wantPaths, c.wantFiles)
		}
	}
	a.stop()
	r.stop()
	r.start() // it is on disk
	if h, err := r.Host(a.ID()); err != nil || len(h.Inventory.Programs) != 1 || h.Inventory.Programs[0].Path != "/var/v" {
		t.Errorf("%+v, %v", h.Inventory, err)
	}
}
