package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
)

// machine is a root folder with packages, and what knows them.
type machine struct {
	t         *testing.T
	root, dir string
	catalog   *catalog.Catalog
	packaged  *packaged
	changes   atomic.Int64
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root, for files that are root's")
	}
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	return &machine{t: t, root: t.TempDir(), dir: t.TempDir(), catalog: c}
}

func (m *machine) lay(name, text string, mode os.FileMode) string {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// list has packages of dpkg bring files, of which all know at once: as some time ago.
func (m *machine) list(name, path string) {
	m.t.Helper()
	m.lay("var/lib/dpkg/info/"+name+".list", "/.\n"+path+"\n", 0o644)
}

// begin is the start of a worker, without what it does afterwards.
func (m *machine) begin() {
	m.t.Helper()
	var err error
	if m.packaged, err = newPackaged(m.dir, m.root, m.catalog, slog.New(slog.DiscardHandler)); err != nil {
		m.t.Fatal(err)
	}
}

// run is a worker at work.
func (m *machine) run() {
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	p := m.packaged
	go func() { done <- p.run(ctx, func() error { m.changes.Add(1); return nil }) }()
	m.t.Cleanup(func() { cancel(); <-done })
}

func (m *machine) sum() uint64 { return m.packaged.view.Load().owned.Sum() }

// app says whose messenger a file is, and how.
func (m *machine) app(path string) (app string, o judge.Origin) {
	m.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	o = m.packaged.Origin(ctx, &judge.File{File: f, Path: path, Stat: &st, Thread: int32(os.Getpid()), Loose: st.Uid != 0})
	if o.Match != nil {
		app = o.Match.App
	}
	return app, o
}

// TestPackagedAtOnce knows a program as soon as its package is installed, without anybody who told so, and also when it is replaced.
func TestPackagedAtOnce(t *testing.T) {
	m := newMachine(t)
	m.list("bash", "/bin/bash")
	m.begin()
	if m.sum() != 0 {
		t.Error("there is a messenger before")
	}
	m.run()
	program, other := m.lay("opt/zoom/zoom", "1", 0o755), m.lay("opt/other", "1", 0o755)
	if app, _ := m.app(program); app != "" {
		t.Errorf("before: %q", app)
	}
	m.list("zoom", "/opt/zoom/zoom")
	for _, text := range []string{"1", "2"} {
		m.lay("opt/new", text, 0o755)
		if err := os.Rename(filepath.Join(m.root, "opt/new"), program); err != nil {
			t.Fatal(err)
		}
		bound := filepath.Join(t.TempDir(), "bound") // the same file, elsewhere
		if err := os.Link(program, bound); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{program, bound} {
			if app, o := m.app(path); app != "zoom" || o.Claimed {
				t.Errorf("%s: %q %+v", path, app, o)
			}
		}
	}
	if app, _ := m.app(other); app != "" {
		t.Errorf("another: %q", app)
	}
	if m.changes.Load() == 0 {
		t.Error("what was allowed before is not asked again")
	}
	if err := os.Chown(program, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if app, o := m.app(program); app != "zoom" || !o.Claimed {
		t.Errorf("a user's: %q %+v", app, o)
	}
}

// TestPackagedUnpacking remembers nothing of what is new while dpkg unpacks something.
func TestPackagedUnpacking(t *testing.T) {
	m := newMachine(t)
	m.list("bash", "/bin/bash")
	m.begin()
	m.run()
	program := m.lay("opt/zoom/zoom", "1", 0o755)
	if _, o := m.app(program); o.Unsure {
		t.Error("before")
	}
	m.lay("var/lib/dpkg/tmp.ci/control", "", 0o644)
	m.lay("opt/zoom/zoom", "2", 0o755)
	if _, o := m.app(program); !o.Unsure {
		t.Error("while it is unpacked")
	}
}

// TestPackagedAgain is the same for each worker, as long as the packages are the same; what is in the way keeps nothing from being known.
func TestPackagedAgain(t *testing.T) {
	m := newMachine(t)
	m.list("zoom", "/opt/zoom/zoom")
	m.lay("opt/zoom/zoom", "", 0o755)
	m.begin()
	first := m.sum()
	m.run()
	for range 3 {
		m.begin()
		if m.sum() != first || first == 0 {
			t.Errorf("%x, then %x", first, m.sum())
		}
	}
	m.lay("var/lib/dpkg/info/viber.list", string(make([]byte, 100<<10)), 0o644) // one line that is too long
	c, before := m.catalog, m.packaged.view.Load()
	if err := m.packaged.again(t.Context(), c, true, func() error { return nil }); err == nil || m.sum() != before.owned.Sum() {
		t.Errorf("%x, then %x: %v", before.owned.Sum(), m.sum(), err)
	}
	if err := os.Remove(filepath.Join(m.root, "var/lib/dpkg/info/viber.list")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(m.root, "var/lib/dpkg/info/zoom.list")); err != nil {
		t.Fatal(err)
	}
	if err := m.packaged.again(t.Context(), c, true, func() error { return nil }); err != nil || m.sum() != 0 {
		t.Errorf("%x: %v", m.sum(), err)
	}
}

// TestPackagedAnswer keeps what rpm said for the next worker, which does not ask before it decides; a damaged file is told, and nothing else.
func TestPackagedAnswer(t *testing.T) {
	m := newMachine(t)
	program := m.lay("usr/bin/client", "", 0o755)
	kept := answer{Stamp: trust.Stamp{RPM: [4]trust.Moment{{Ino: 1}}}, Names: []string{"x"}, Files: []trust.Listed{{Package: trust.Package{Manager: "rpm", Name: "zoom"},
		Path: "/usr/bin/client"}}}
	p := &packaged{dir: m.dir, root: m.root}
	if err := p.keep(kept); err != nil {
		t.Fatal(err)
	}
	m.begin()
	m.packaged.view.Load().failed = time.Now() // it is not asked now
	if found, owned, _ := m.packaged.view.Load().owned.Of(program, &unix.Stat_t{}); !owned || found.Name != "zoom" || m.sum() == 0 {
		t.Errorf("%+v", found)
	}
	if err := m.packaged.again(t.Context(), m.catalog, false, func() error { return nil }); err != nil || m.sum() == 0 {
		t.Errorf("while it gives no answer: %v", err)
	}
	m.packaged.view.Load().failed = time.Time{}
	if err := m.packaged.again(t.Context(), m.catalog, false, func() error { return nil }); err != nil || m.sum() != 0 {
		t.Errorf("there is no database any more: %v", err)
	}
	var now answer
	if b, err := os.ReadFile(p.path()); err != nil || json.Unmarshal(b, &now) != nil || len(now.Files) != 0 {
		t.Errorf("%+v, %v", now, err)
	}
	if err := os.WriteFile(p.path(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := newPackaged(m.dir, m.root, m.catalog, nil); err == nil || a.view.Load() == nil {
		t.Errorf("damaged: %v", err)
	}
}

// TestPackagedRPM installs a package of rpm with the real rpm while the agent is at work.
func TestPackagedRPM(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CHAPERONE_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip("no rpm here: apt-get install rpm")
		}
	}
	build := t.TempDir()
	run := func(words ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+build)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", words, err, out)
		}
	}
	spec := filepath.Join(build, "zoom.spec")
	text := "Name: zoom\nVersion: 1\nRelease: 1\nSummary: Of a test\nLicense: none\nBuildArch: noarch\n%description\nOf a test.\n%install\n" +
		"mkdir -p %{buildroot}/opt/zoom\nprintf x >%{buildroot}/opt/zoom/zoom\nchmod 755 %{buildroot}/opt/zoom/zoom\n%files\n/opt/zoom/zoom\n"
	if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	database := filepath.Join(m.root, "var/lib/rpm")
	run("rpmbuild", "--quiet", "-bb", "--define", "_topdir "+build, "--define", "_tmppath "+build, spec)
	run("rpm", "--dbpath", database, "--initdb")
	program := m.lay("opt/zoom/zoom", "x", 0o755)
	m.begin()
	m.run()
	if app, o := m.app(program); app != "" {
		t.Errorf("before: %q %+v", app, o)
	}
	run("rpm", "--dbpath", database, "-i", "--justdb", "--nodeps", "--noscripts", "--nosignature", filepath.Join(build, "RPMS/noarch/zoom-1-1.noarch.rpm"))
	if app, o := m.app(program); app != "zoom" || o.Claimed {
		t.Errorf("%q %+v", app, o)
	}
	sum := m.sum()
	m.begin() // the next worker
	if m.sum() != sum {
		t.Errorf("%x, then %x", sum, m.sum())
	}
	m.run()
	if app, o := m.app(program); app != "zoom" {
		t.Errorf("of the next worker: %q %+v", app, o)
	}
}
