package trust_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
)

// tree is a root folder of a test.
type tree struct {
	t    *testing.T
	root string
}

func newTree(t *testing.T) *tree { return &tree{t, t.TempDir()} }

func (x *tree) at(name string) string { return filepath.Join(x.root, name) }

func (x *tree) lay(name, text string, mode os.FileMode) {
	x.t.Helper()
	path := x.at(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		x.t.Fatal(err)
	}
}

func (x *tree) link(old, name string) {
	x.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(x.at(name)), 0o755), os.Link(x.at(old), x.at(name))); err != nil {
		x.t.Fatal(err)
	}
}

// owner says who brought a file, as seen under a path.
func (x *tree) owner(o *trust.Owned, name, path string) string {
	x.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(x.at(name), &st); err != nil {
		x.t.Fatal(err)
	}
	p, owned, shared := o.Of(path, &st)
	switch {
	case owned && shared:
		return p.Name + ", shared"
	case owned:
		return p.Name
	case shared:
		return "shared"
	}
	return ""
}

// TestDpkg lists what packages of dpkg brought, and takes the programs of those that are asked about, by themselves and by their paths.
func TestDpkg(t *testing.T) {
	x := newTree(t)
	for _, name := range []string{"opt/zoom/zoom", "opt/other/other", "opt/viber/viber", "usr/bin/client"} {
		x.lay(name, name, 0o755)
	}
	x.lay("opt/zoom/data", "no program", 0o644)
	if err := errors.Join(os.Symlink("../other/other", x.at("opt/zoom/link")), os.Symlink("usr/bin", x.at("bin"))); err != nil {
		t.Fatal(err)
	}
	x.lay("var/lib/dpkg/info/zoom.list", "/.\n/opt\n/opt/zoom\n/opt/zoom/zoom\n/opt/zoom/data\n/opt/zoom/link\n/opt/zoom/gone\nrelative\n\n/bin/client\n", 0o644)
	x.lay("var/lib/dpkg/info/viber:amd64.list", "/opt/viber/viber\n", 0o644)
	x.lay("var/lib/dpkg/info/zoom-x.list", "/opt/other/other\n", 0o644)
	x.lay("var/lib/dpkg/info/zoom.md5sums", "/opt/other/other\n", 0o644)
	listed, err := trust.Dpkg(x.root, []string{"zoom", "viber", "absent", "*", "../info/zoom-x", ""})
	if err != nil || len(listed) != 8 {
		t.Fatalf("%v, %v", listed, err)
	}
	if programs := trust.Programs(x.root, listed); len(programs) != 4 {
		t.Errorf("%v", programs)
	}
	o := trust.Own(x.root, listed)
	for name, want := range map[string]string{"opt/zoom/zoom": "zoom", "opt/viber/viber": "viber", "opt/other/other": "", "opt/zoom/data": "", "usr/bin/client": "zoom"} {
		if got := x.owner(o, name, "/mnt/elsewhere"); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for path, want := range map[string]string{"opt/zoom/zoom": "zoom", "opt/zoom/gone": "zoom", "usr/bin/client": "zoom", "bin/client": "", "opt/zoom/data": "", "opt/zoom/link": ""} {
		if got := x.owner(o, "opt/other/other", x.at(path)); got != want { // another file lies there now
			t.Errorf("%s: %q", path, got)
		}
	}
}

// TestSum is the same for the same programs and another one when one comes, goes, or is another file.
func TestSum(t *testing.T) {
	x := newTree(t)
	x.lay("a", "", 0o755)
	listed := []trust.Listed{{Package: trust.Package{Manager: "deb", Name: "p"}, Path: "/b"}, {Package: trust.Package{Manager: "deb", Name: "p"}, Path: "/a"}}
	seen := map[uint64]string{}
	note := func(what string, listed []trust.Listed) uint64 {
		t.Helper()
		sum := trust.Own(x.root, listed).Sum()
		if was, known := seen[sum]; known {
			t.Errorf("%s is as %s", what, was)
		}
		seen[sum] = what
		return sum
	}
	if note("nothing", nil) != 0 || !trust.Own(x.root, nil).Empty() {
		t.Error("nothing is something")
	}
	one := note("one", listed)
	if got := trust.Own(x.root, []trust.Listed{listed[1], listed[0]}).Sum(); got != one {
		t.Error("the order counts")
	}
	x.lay("b", "", 0o755)
	note("two", listed)
	x.lay("c", "", 0o755)
	if err := os.Rename(x.at("c"), x.at("b")); err != nil {
		t.Fatal(err)
	}
	note("another file", listed)
	listed[0].Name = "q"
	note("another package", listed)
}

// TestFlatpak takes the programs of an application, but not those that it has in common with another: they are no more the one's than the other's.
func TestFlatpak(t *testing.T) {
	x := newTree(t)
	const app, files = "var/lib/flatpak/app/", "/x86_64/stable/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/files/bin/"
	store := "var/lib/flatpak/repo/objects/"
	for name, mode := range map[string]os.FileMode{"zoom": 0o755, "helper": 0o755, "data": 0o644} {
		x.lay(store+name, name, mode)
		x.link(store+name, app+"us.zoom.Zoom"+files+name)
	}
	x.link(store+"helper", app+"org.example.Editor"+files+"helper")
	x.lay(app+"us.zoom.Zoom"+files+"extra", "not in the store", 0o755)
	listed, err := trust.Flatpak(x.root, []string{"us.zoom.Zoom", "com.viber.Viber"})
	if err != nil || len(listed) != 3 {
		t.Fatalf("%v, %v", listed, err)
	}
	o := trust.Own(x.root, listed)
	for name, want := range map[string]string{"zoom": "us.zoom.Zoom", "helper": "shared", "data": "", "extra": "us.zoom.Zoom"} {
		if got := x.owner(o, app+"us.zoom.Zoom"+files+name, "/app/bin/x"); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := x.owner(o, store+"helper", x.at(app+"us.zoom.Zoom"+files+"helper")); got != "us.zoom.Zoom, shared" {
		t.Errorf("%q", got)
	}
	sum := o.Sum()
	if err := os.RemoveAll(x.at(app + "org.example.Editor")); err != nil {
		t.Fatal(err)
	}
	if o := trust.Own(x.root, listed); x.owner(o, store+"helper", "/app/bin/x") != "us.zoom.Zoom" || o.Sum() == sum {
		t.Error("nobody shares it any more")
	}
	if none, err := trust.Flatpak(t.TempDir(), []string{"x"}); err != nil || none != nil {
		t.Errorf("%v, %v", none, err)
	}
}

// TestStamps is another stamp after each change of a database.
func TestStamps(t *testing.T) {
	x := newTree(t)
	x.lay("var/lib/dpkg/info/a.list", "", 0o644)
	x.lay("var/lib/rpm/rpmdb.sqlite", "database", 0o644)
	x.lay("var/lib/rpm/rpmdb.sqlite-wal", "", 0o644)
	x.lay("var/lib/flatpak/.changed", "", 0o644)
	last := trust.Stamps(x.root)
	if last != trust.Stamps(x.root) || !last.Settled(time.Now().Add(time.Minute)) || last.Settled(time.Now()) {
		t.Errorf("%+v", last)
	}
	if (trust.Stamps(t.TempDir()) != trust.Stamp{}) {
		t.Error("there is nothing")
	}
	later := time.Now()
	touch := func(name string) {
		later = later.Add(time.Hour)
		if err := os.Chtimes(x.at(name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	for what, change := range map[string]func(){
		"a list":         func() { x.lay("var/lib/dpkg/info/b.list", "", 0o644); touch("var/lib/dpkg/info") },
		"rpm":            func() { x.lay("var/lib/rpm/rpmdb.sqlite", "database "+strconv.Itoa(1), 0o644) },
		"rpm's log":      func() { x.lay("var/lib/rpm/rpmdb.sqlite-wal", "x", 0o644) },
		"a flatpak":      func() { touch("var/lib/flatpak/.changed") },
		"rpm's old form": func() { x.lay("var/lib/rpm/Packages", "x", 0o644) },
	} {
		change()
		if now := trust.Stamps(x.root); now == last {
			t.Errorf("%s: the same stamp", what)
		} else {
			last = now
		}
	}
	x.lay("var/lib/rpm/__db.001", strings.Repeat("x", 100), 0o644)
	if trust.Stamps(x.root) != last {
		t.Error("who asks rpm changes the stamp")
	}
}
