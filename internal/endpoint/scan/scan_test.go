package scan_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	os.Exit(m.Run())
}

// decider is the policy of these tests: messengers are blocked, and one hash.
type decider struct{ sha256 string }

func (d decider) Decide(in *policy.Input) event.Verdict {
	p := in.Event.Program
	switch {
	case p.App != "":
		return event.Verdict{Action: event.Block, Rule: "no-messengers"}
	case d.sha256 != "" && p.SHA256 == d.sha256:
		return event.Verdict{Action: event.Block, Rule: "known-bad"}
	}
	return event.Verdict{Action: event.Allow, Rule: "otherwise"}
}

type recorder struct {
	events []*event.Event
	err    error
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	r.events = append(r.events, events...)
	return r.err
}

// need returns a tool, or ends the test: skipped, but in CI it fails.
func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip(tool + " is not installed")
	}
	return path
}

func newScanner(t testing.TB, o scan.Options) *scan.Scanner {
	t.Helper()
	if o.Catalog == nil {
		c, err := catalog.Default()
		if err != nil {
			t.Fatal(err)
		}
		o.Catalog = c
	}
	if o.Policy == nil {
		o.Policy = decider{}
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute // of a machine that has other things to do
	}
	s, err := scan.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// results of a scan, with paths relative to the scanned folder.
type results struct {
	findings map[string]*scan.Finding // by path!/inside
	problems []string                 // "path!/inside: reason"
	order    []string
	summary  scan.Summary
}

func run(t testing.TB, o scan.Options, dir string) results {
	t.Helper()
	r := results{findings: map[string]*scan.Finding{}}
	name := func(path, inside string) string {
		path = strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		if inside != "" {
			path += "!/" + inside
		}
		return path
	}
	var err error
	r.summary, err = newScanner(t, o).Scan(context.Background(), []string{dir}, func(x scan.Result) error {
		if x.Problem != nil {
			r.problems = append(r.problems, name(x.Problem.Path, x.Problem.Inside)+": "+x.Problem.Reason)
			return nil
		}
		n := name(x.Finding.Path, x.Finding.Inside)
		r.findings[n] = x.Finding
		r.order = append(r.order, n)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t testing.TB, path string, body []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func command(t *testing.T, dir, tool string, args ...string) {
	t.Helper()
	cmd := exec.Command(need(t, tool), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// TestFindsByContent finds messengers of each format, whatever they are called and however they are wrapped.
func TestFindsByContent(t *testing.T) {
	dir := t.TempDir()
	if _, err := scantest.WriteRenamedInstaller(dir); err != nil {
		t.Fatal(err)
	}
	deb := programtest.Deb("telegram-desktop", "4.6.5", map[string][]byte{"./usr/bin/telegram-desktop": scantest.Installer()})
	write(t, filepath.Join(dir, "letter.doc"), deb)
	write(t, filepath.Join(dir, "music.mp3"), programtest.RPM("telegram-desktop", "4.6.5", "RPM Fusion", programtest.Gzip(programtest.CPIO(nil))))
	write(t, filepath.Join(dir, "nested"), programtest.Gzip(programtest.Tar(map[string][]byte{"mail/photos.tar": programtest.Tar(map[string][]byte{"holiday.jpg": deb})})))
	write(t, filepath.Join(dir, "menu"), []byte("[Desktop Entry]\nType=Application\nName=Chat\nExec=flatpak run x\nX-Flatpak=org.telegram.desktop\n"))
	write(t, filepath.Join(dir, "list"), []byte(`<?xml version="1.0"?><plist version="1.0"><dict><key>CFBundleIdentifier</key><string>ru.keepcoder.Telegram</string></dict></plist>`))
	write(t, filepath.Join(dir, "report.txt"), []byte("tdesktop-theme TelegramDesktop telegram-desktop"))
	r := run(t, scan.Options{Host: event.Host{Name: "laptop-17"}}, dir)
	for path, want := range map[string]struct{ format, kind string }{
		"holiday.jpg": {"pe", "installer"}, "letter.doc": {"deb", "package"}, "music.mp3": {"rpm", "package"},
		"nested!/mail/photos.tar!/holiday.jpg": {"deb", "package"}, "menu": {"desktop", "launcher"}, "list": {"plist", "client"},
	} {
		f := r.findings[path]
		if f == nil {
			t.Errorf("%s was not found", path)
			continue
		}
		p := f.Event.Program
		if p.App != "telegram" || p.Format != want.format || p.Form != want.kind || len(p.SHA256) != 64 || len(f.Event.Evidence) == 0 || p.Confidence < event.Medium {
			t.Errorf("%s: %+v, evidence %+v", path, p, f.Event.Evidence)
		}
		if f.Event.Verdict.Rule != "no-messengers" || f.Event.Kind != event.FindingHit || f.Event.Host.Name != "laptop-17" {
			t.Errorf("%s: %+v", path, f.Event)
		}
	}
	if len(r.findings) != 6 || len(r.problems) != 0 || r.summary.Findings != 6 || r.summary.Files != 7 {
		t.Errorf("%d findings %q, problems %q, summary %+v", len(r.findings), r.order, r.problems, r.summary)
	}
	if !slices.IsSorted(r.order) {
		t.Errorf("not in the order of the walk: %q", r.order)
	}
}

// TestInnocentNames leaves programs alone that only share a word with a messenger, and is unsure of one that says nothing else.
func TestInnocentNames(t *testing.T) {
	dir := t.TempDir()
	for name, texts := range map[string]map[string]string{
		"processing.exe": {"ProductName": "Signal Processing", "CompanyName": "Acoustics Laboratory"},
		"signal.exe":     {"ProductName": "Signal", "CompanyName": "Cambridge Electronic Design", "OriginalFilename": "Signal.exe"},
		"player.exe":     {"ProductName": "Zoom Player", "CompanyName": "Inmatrix LTD"},
		"line.exe":       {"ProductName": "Line", "CompanyName": "Geometry Tools"},
		"wire.exe":       {"ProductName": "Wire", "CompanyName": "Circuit Design GmbH", "OriginalFilename": "wire.exe"},
		"element.exe":    {"ProductName": "Element", "CompanyName": "Finite Analysis, Inc."},
		"zoom.exe":       {"ProductName": "Zoom", "CompanyName": "Optical Instruments"},
		"unsure.exe":     {"ProductName": "Signal"},
		"real.exe":       {"ProductName": "Signal", "CompanyName": "Signal Messenger, LLC"},
	} {
		write(t, filepath.Join(dir, name), programtest.PE(texts))
	}
	r := run(t, scan.Options{}, dir)
	if !slices.Equal(r.order, []string{"real.exe", "unsure.exe"}) || r.problems != nil {
		t.Fatalf("found %q, problems %q", r.order, r.problems)
	}
	if got := r.findings["unsure.exe"].Event.Program.Confidence; got > event.Low || got >= scan.ActFrom {
		t.Errorf("a name alone has confidence %d", got)
	}
	if got := r.findings["real.exe"].Event.Program.Confidence; got < scan.ActFrom {
		t.Errorf("product and company have confidence %d", got)
	}
}

// TestSignedProgram finds a program by its signature alone, made by a real tool.
func TestSignedProgram(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	need(t, "osslsigncode")
	write(t, filepath.Join(work, "a.exe"), programtest.PE(map[string]string{"FileDescription": "nothing to see"}))
	command(t, work, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "30",
		"-subj", "/C=AE/L=Dubai/O=Telegram FZ-LLC/CN=Telegram FZ-LLC", "-addext", "extendedKeyUsage=codeSigning")
	command(t, work, "osslsigncode", "sign", "-certs", "c.pem", "-key", "k.pem", "-in", "a.exe", "-out", filepath.Join(dir, "holiday.jpg"))
	f := run(t, scan.Options{}, dir).findings["holiday.jpg"]
	if f == nil || f.Event.Program.App != "telegram" || !strings.Contains(f.Event.Program.Publisher, "Telegram FZ-LLC") || f.Event.Program.Confidence < event.High {
		t.Errorf("got %+v", f)
	}
	if f == nil || !f.Identified || !strings.Contains(f.Event.Evidence[0].Value, "self-signed; verified with key ") {
		t.Errorf("got %+v", f.Event.Evidence)
	}
	data, err := os.ReadFile(filepath.Join(dir, "holiday.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "changed.jpg"), append(data, 'x'))
	f = run(t, scan.Options{}, dir).findings["changed.jpg"]
	if f == nil || f.Event.Program.App != "telegram" || f.Event.Program.Confidence >= event.Medium || f.Identified ||
		!strings.Contains(f.Event.Evidence[0].Value, "does not verify: bytes follow the signature") {
		t.Errorf("a signature that does not verify: %+v", f)
	}
}

// TestRealDebian finds a package that dpkg-deb built.
func TestRealDebian(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	need(t, "dpkg-deb")
	write(t, filepath.Join(work, "x/DEBIAN/control"), []byte("Package: telegram-desktop\nVersion: 1\nArchitecture: all\nMaintainer: N <n@example.org>\nDescription: x\n"))
	write(t, filepath.Join(work, "x/usr/share/x"), []byte("x"))
	command(t, work, "dpkg-deb", "--root-owner-group", "-Zxz", "-b", "x", filepath.Join(dir, "holiday.jpg"))
	if f := run(t, scan.Options{}, dir).findings["holiday.jpg"]; f == nil || f.Event.Program.App != "telegram" {
		t.Errorf("got %+v", f)
	}
}

// TestTreeHazards walks a tree with everything that has stopped a walker before.
func TestTreeHazards(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad\xffname")
	write(t, bad, scantest.Installer())
	write(t, filepath.Join(dir, "broken.zip"), []byte("PK\x03\x04 and no more"))
	write(t, filepath.Join(dir, "empty"), nil)
	deep := dir
	for range 300 {
		deep = filepath.Join(deep, "d")
	}
	write(t, filepath.Join(deep, "x"), scantest.Installer())
	if err := errors.Join(
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		os.Symlink(dir, filepath.Join(dir, "loop")),
		os.Symlink("/etc/passwd", filepath.Join(dir, "link")),
		os.Symlink(bad, filepath.Join(dir, "twice")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
	); err != nil {
		t.Fatal(err)
	}
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	if len(dir) < 90 {
		if err := unix.Bind(listener, &unix.SockaddrUnix{Name: filepath.Join(dir, "socket")}); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil && !errors.Is(err, unix.EPERM) {
			t.Fatal(err)
		}
	}
	r := run(t, scan.Options{}, dir)
	if len(r.findings) != 2 || r.findings["bad\xffname"] == nil {
		t.Errorf("findings %q", r.order)
	}
	if !slices.Equal(r.problems, []string{"broken.zip: unparseable"}) {
		t.Errorf("problems %q", r.problems)
	}
	line, err := json.Marshal(r.findings["bad\xffname"].Line())
	if err != nil || !strings.Contains(string(line), `"path_base64":"`+base64.StdEncoding.EncodeToString([]byte(bad))+`"`) {
		t.Errorf("%s, %v", line, err)
	}
}

// TestUnreadableFolder scans as somebody who may not read everything.
func TestUnreadableFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything: the script of the command runs this as nobody")
	}
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
	if r := run(t, scan.Options{}, dir); !slices.Equal(r.problems, []string{"closed: unreadable"}) {
		t.Errorf("problems %q", r.problems)
	}
}

func TestMissingPath(t *testing.T) {
	r := run(t, scan.Options{}, filepath.Join(t.TempDir(), "nothing"))
	if len(r.problems) != 1 || !strings.HasSuffix(r.problems[0], ": unreadable") {
		t.Errorf("problems %q", r.problems)
	}
}

// TestRootMayBeALink follows what the caller named, and nothing below.
// TestRecordsAreNeverRelative: what was given as "tree" is reported as that, and goes on record, and to policy, by a path that still means
// something tomorrow.
func TestRecordsAreNeverRelative(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := programtest.PE(map[string]string{"ProductName": "Example"})
	write(t, filepath.Join(dir, "tree", "a.exe"), exe)
	home := filepath.Join(dir, "tree", ".local/share/TelegramDesktop/tdata")
	write(t, filepath.Join(home, "key_datas"), []byte("x"))
	t.Chdir(dir)
	rec := &recorder{}
	s := newScanner(t, scan.Options{Recorder: rec, Policy: decider{event.Digest(exe)}})
	var told []string
	if _, err := s.Scan(t.Context(), []string{"tree"}, func(r scan.Result) error {
		if r.Finding != nil {
			told = append(told, r.Finding.Path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var recorded []string
	for _, e := range rec.events {
		recorded = append(recorded, e.Program.Path)
	}
	slices.Sort(told)
	slices.Sort(recorded)
	if want := []string{"tree/.local/share/TelegramDesktop/tdata", "tree/a.exe"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if want := []string{home, filepath.Join(dir, "tree", "a.exe")}; !slices.Equal(recorded, want) {
		t.Errorf("on record is %q, want %q", recorded, want)
	}
}

func TestRootMayBeALink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real", "x"), scantest.Installer())
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	r := run(t, scan.Options{}, link)
	if f := r.findings["x"]; f == nil || f.Path != link+"/x" || strings.Contains(f.Real, "link") {
		t.Errorf("got %+v", r.order)
	}
}

func TestNotLookedInto(t *testing.T) {
	dir := t.TempDir()
	data := scantest.Installer()
	for range 8 {
		data = programtest.Tar(map[string][]byte{"inner.tar": data})
	}
	write(t, filepath.Join(dir, "deep.tar"), data)
	write(t, filepath.Join(dir, "bomb.tgz"), programtest.Gzip(programtest.Tar(map[string][]byte{"zeros": make([]byte, 64<<20)})))
	r := run(t, scan.Options{}, dir)
	if len(r.problems) != 2 || r.problems[0] != "bomb.tgz: bomb" || !strings.HasSuffix(r.problems[1], ": too-deep") {
		t.Errorf("problems %q", r.problems)
	}
}

// TestInstallersAreSaid looks into real installers as far as that goes, and says where it ends, in the lines of the command.
func TestInstallersAreSaid(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	write(t, filepath.Join(work, "a.exe"), scantest.Installer())
	write(t, filepath.Join(work, "a.nsi"), []byte("OutFile a-setup.exe\nSection\nSetOutPath $TEMP\nFile a.exe\nSectionEnd\n"))
	write(t, filepath.Join(work, "a.wxs"), []byte(`<?xml version="1.0"?><Wix xmlns="http://schemas.microsoft.com/wix/2006/wi"><Product Id="*" Name="Tools" Language="1033" Version="1.0.0"
Manufacturer="Example" UpgradeCode="11111111-2222-3333-4444-555555555555"><Package InstallerVersion="200" Compressed="yes"/><Media Id="1" Cabinet="cab1.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"><Component Id="C" Guid="11111111-2222-3333-4444-555555555556"><File Id="P" Source="a.exe" KeyPath="yes"/></Component></Directory>
<Feature Id="X" Level="1"><ComponentRef Id="C"/></Feature></Product></Wix>`))
	command(t, work, "makensis", "-V1", "a.nsi")
	command(t, work, "wixl", "-o", filepath.Join(dir, "tools.msi"), "a.wxs")
	nsis, err := os.ReadFile(filepath.Join(work, "a-setup.exe"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "backup.tar"), programtest.Tar(map[string][]byte{"holiday.jpg": nsis}))
	write(t, filepath.Join(dir, "chat.snap"), []byte("hsqs and no more"))
	r := run(t, scan.Options{}, dir)
	if !slices.Equal(r.problems, []string{"chat.snap: unparseable"}) {
		t.Errorf("problems %q", r.problems)
	}
	if f := r.findings["backup.tar!/holiday.jpg!/file-1"]; f == nil || f.Event.Program.App != "telegram" {
		t.Errorf("the program in the NSIS installer was not found: %q", r.order)
	}
	if f := r.findings["tools.msi!/cab1.cab!/P"]; f == nil || f.Event.Program.App != "telegram" {
		t.Errorf("the program in the cabinet of the MSI was not found: %q", r.order)
	}
}

// TestParserDies kills every parser that starts, by limits that no work can meet: each file is a problem, and the scan goes on to its end.
func TestParserDies(t *testing.T) {
	dir := t.TempDir()
	long := slow(t)
	for i := range 2 {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.tgz", i)), long)
	}
	write(t, filepath.Join(dir, "last.exe"), scantest.Installer())
	// a job has up to 61 times its limit where others want the processor: less than these files take of it
	r := run(t, scan.Options{Workers: 1, Timeout: 100 * time.Millisecond, Limits: endless()}, dir)
	if len(r.problems) != 2 || !strings.HasSuffix(r.problems[0], ": timeout") {
		t.Errorf("problems %q", r.problems)
	}
	if r.findings["last.exe"] == nil {
		t.Error("the scan did not go on")
	}
}

// slow is a small archive that takes seconds to read anywhere: one member of 32 GiB, in gzip streams one after the other.
func slow(t *testing.T) []byte {
	t.Helper()
	const pieces, piece = 512, 64 << 20
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "zeros", Mode: 0o600, Size: pieces * piece, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	// packed once more: a file so small adds nothing to its time
	return programtest.Gzip(append(programtest.Gzip(head.Bytes()), bytes.Repeat(programtest.Gzip(make([]byte, piece)), pieces)...))
}

// TestKilledParser kills a parser process from outside while it works.
func TestKilledParser(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.tgz"), slow(t))
	write(t, filepath.Join(dir, "last.exe"), scantest.Installer())
	s := newScanner(t, scan.Options{Workers: 1, Timeout: time.Minute, Limits: endless()})
	if _, err := s.Sandbox(t.Context()); err != nil { // starts the child
		t.Fatal(err)
	}
	victims := children(os.Getpid())
	if len(victims) != 1 {
		t.Skipf("cannot tell the child among %v", victims)
	}
	done := make(chan struct{})
	before := ticks(victims[0])
	go func() {
		defer close(done)
		for ticks(victims[0]) < before+3 { // then it works on the archive
			time.Sleep(time.Millisecond)
		}
		_ = syscall.Kill(victims[0], syscall.SIGKILL)
	}()
	var reasons []string
	found := false
	_, err := s.Scan(t.Context(), []string{dir}, func(x scan.Result) error {
		if x.Problem != nil {
			reasons = append(reasons, x.Problem.Reason)
		} else {
			found = true
		}
		return nil
	})
	<-done
	if err != nil || !found || !slices.Equal(reasons, []string{sandbox.Crashed}) {
		t.Errorf("%v; reasons %q, found the last file: %v", err, reasons, found)
	}
}

// endless are limits that a slow archive keeps.
func endless() unpack.Limits { return unpack.Limits{Ratio: 1 << 40, Total: 1 << 40} }

// ticks is how much processor time a process has used (proc(5): utime); very much when it is gone.
func ticks(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 1 << 30
	}
	_, after, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(after)
	n := 0
	if len(fields) > 11 {
		_, _ = fmt.Sscan(fields[11], &n)
	}
	return n
}

// children lists the child processes of pid.
func children(pid int) []int {
	var b []byte
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		more, err := os.ReadFile(task)
		if err == nil {
			b = append(append(b, ' '), more...)
		}
	}
	var out []int
	for _, word := range strings.Fields(string(b)) {
		var n int
		if _, err := fmt.Sscan(word, &n); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func TestPolicyForbidsByHash(t *testing.T) {
	dir := t.TempDir()
	exe := programtest.PE(map[string]string{"ProductName": "Example"})
	write(t, filepath.Join(dir, "a.exe"), exe)
	write(t, filepath.Join(dir, "b.exe"), programtest.PE(map[string]string{"ProductName": "Other"}))
	r := run(t, scan.Options{Policy: decider{event.Digest(exe)}}, dir)
	f := r.findings["a.exe"]
	if len(r.findings) != 1 || f == nil || f.Event.Program.App != "" || f.Event.Verdict.Rule != "known-bad" {
		t.Errorf("findings %q", r.order)
	}
}

func TestRecordsBeforeReporting(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.exe"), scantest.Installer())
	rec := &recorder{}
	if r := run(t, scan.Options{Recorder: rec}, dir); len(rec.events) != 1 || len(r.findings) != 1 {
		t.Errorf("%d recorded", len(rec.events))
	}
	s := newScanner(t, scan.Options{Recorder: &recorder{err: syscall.ENOSPC}})
	_, err := s.Scan(t.Context(), []string{dir}, func(scan.Result) error {
		t.Error("reported what could not be recorded")
		return nil
	})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestStopsWhenTold(t *testing.T) {
	dir := t.TempDir()
	for i := range 200 {
		write(t, filepath.Join(dir, fmt.Sprint(i)), scantest.Installer())
	}
	want := errors.New("enough")
	if _, err := newScanner(t, scan.Options{}).Scan(t.Context(), []string{dir}, func(scan.Result) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newScanner(t, scan.Options{}).Scan(ctx, []string{dir}, func(scan.Result) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestTalkers keeps what talks about many messengers, and browsers, from being taken for one.
func TestTalkers(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ourselves"), self) // it holds the whole catalog
	var bare []byte
	for _, tok := range c.Tokens() {
		if tok.BareName {
			bare = append(append(bare, tok.Text...), 0)
		}
	}
	write(t, filepath.Join(dir, "browser"), append(programtest.PE(nil), bare...))
	if r := run(t, scan.Options{}, dir); len(r.findings) != 0 {
		t.Errorf("taken for messengers: %q", r.order)
	}
}

// TestChromium scans the real browser, which holds the names of messengers' web clients.
func TestChromium(t *testing.T) {
	const dir = "/usr/lib/chromium"
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("chromium is not installed")
	}
	if r := run(t, scan.Options{}, dir); len(r.findings) != 0 {
		t.Errorf("taken for messengers: %q", r.order)
	}
}

func TestLinesKeepTheContract(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.exe"), scantest.Installer())
	r := run(t, scan.Options{}, dir)
	for _, c := range []struct {
		line any
		want []string
	}{
		{r.findings["a.exe"].Line(), strings.Fields("type path inside app kind format version publisher sha256 confidence evidence verdict rule")},
		{(&scan.Problem{Path: "x", Reason: "encrypted"}).Line(), strings.Fields("type path inside reason")},
		{r.summary.Line(), strings.Fields("type files bytes findings errors seconds")},
	} {
		b, err := json.Marshal(c.line)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range c.want {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s has no %s", b, name)
			}
		}
		if len(fields) != len(c.want) {
			t.Errorf("%s has other fields than %v", b, c.want)
		}
		if bytes.Contains(b, []byte("null")) {
			t.Errorf("%s holds null", b)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		write(b, filepath.Join(dir, fmt.Sprint(i%10), fmt.Sprint(i)), bytes.Repeat([]byte("text "), 200))
	}
	s := newScanner(b, scan.Options{})
	for b.Loop() {
		if _, err := s.Scan(b.Context(), []string{dir}, func(scan.Result) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
