package quarantine_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/event"
)

// recorder keeps what is recorded, and looks whether the file is still there at that moment.
type recorder struct {
	acts  []string
	watch string
	early bool // the file was gone before the act was recorded
	fail  error
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	for _, e := range events {
		r.acts = append(r.acts, e.Phase+" "+e.Act.Object)
	}
	if _, err := os.Lstat(r.watch); r.watch != "" && err != nil {
		r.early = true
	}
	return r.fail
}

type held bool

func (h held) HostHeld(context.Context, event.Host) (string, bool, error) {
	return "matter-1", bool(h), nil
}

// open opens a store in a folder of its own.
func open(t *testing.T, dir string, o quarantine.Options) *quarantine.Store {
	t.Helper()
	s, err := quarantine.Open(filepath.Join(dir, "quarantine"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// realTemp is a temporary folder whose path holds no link.
func realTemp(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, content string) quarantine.Target {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return target(t, path)
}

func target(t *testing.T, path string) quarantine.Target {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return quarantine.Target{Path: path, Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, SHA256: hex.EncodeToString(sum[:]), App: "telegram"}
}

// state is everything about a file that must come back.
type state struct {
	Content  string
	Mode     uint32
	UID, GID uint32
	A, M     int64
	Xattrs   map[string]string
}

func stateOf(t *testing.T, path string) state {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	s := state{Mode: st.Mode, UID: st.Uid, GID: st.Gid, A: st.Atim.Nano(), M: st.Mtim.Nano(), Xattrs: map[string]string{}}
	buf := make([]byte, 4096)
	if n, err := unix.Llistxattr(path, buf); err == nil && n > 0 {
		for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
			value := make([]byte, 4096)
			n, err := unix.Lgetxattr(path, name, value)
			if err != nil {
				t.Fatal(err)
			}
			s.Xattrs[name] = string(value[:n])
		}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOATIME, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	b := make([]byte, st.Size)
	if _, err := f.ReadAt(b, 0); err != nil && st.Size > 0 {
		t.Fatal(err)
	}
	s.Content = string(b)
	return s
}

// dress gives a file a mode, owner, times and attributes that are not the usual ones.
func dress(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 12345, 54321); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chmod(path, 0o6751); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(path, "user.note", []byte("a\x00b"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	times := []unix.Timespec{{Sec: 1_000_000_000, Nsec: 123_456_789}, {Sec: 1_100_000_000, Nsec: 987_654_321}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, 0); err != nil {
		t.Fatal(err)
	}
}

func TestTakeAndRestoreExactly(t *testing.T) {
	for _, c := range []struct{ name, file string }{
		{"plain", "tsetup.exe"}, {"name that is not UTF-8", "bad\xffname"}, {"name like an option", "-rf"}, {"name with a line break", "a\nb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			takeAndRestore(t, realTemp(t), filepath.Join(realTemp(t), c.file))
		})
	}
}

// TestAcrossFileSystems does the same with the store on another file system.
func TestAcrossFileSystems(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "quarantine")
	if err != nil {
		t.Skip("no second file system: " + err.Error())
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(realTemp(t), "tsetup.exe")
	var a, b unix.Stat_t
	if err := errors.Join(unix.Stat(dir, &a), unix.Stat(filepath.Dir(path), &b)); err != nil || a.Dev == b.Dev {
		t.Skip("/dev/shm is no file system of its own here")
	}
	takeAndRestore(t, dir, path)
}

func takeAndRestore(t *testing.T, dir, path string) {
	t.Helper()
	write(t, path, "messenger")
	dress(t, path)
	want := stateOf(t, path)
	rec := &recorder{watch: path}
	s := open(t, dir, quarantine.Options{Recorder: rec})
	item, err := s.Take(t.Context(), targetQuietly(t, path, want))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the file is still there: %v", err)
	}
	if rec.early || len(rec.acts) != 1 {
		t.Errorf("recorded %q, after the file was moved: %v", rec.acts, rec.early)
	}
	items, err := s.List()
	if err != nil || len(items) != 1 || items[0].ID != item.ID {
		t.Fatalf("list: %v, %v", items, err)
	}
	if real, err := items[0].RealPath(); err != nil || real != path {
		t.Errorf("path %q, %v", real, err)
	}
	rec.watch = ""
	if _, err := s.Restore(t.Context(), item.ID); err != nil {
		t.Fatal(err)
	}
	if got := stateOf(t, path); !reflect.DeepEqual(got, want) {
		t.Errorf("came back as\n%+v, was\n%+v", got, want)
	}
	if items, err := s.List(); err != nil || len(items) != 0 {
		t.Errorf("still listed: %v, %v", items, err)
	}
}

// targetQuietly makes a target without touching the access time.
func targetQuietly(t *testing.T, path string, s state) quarantine.Target {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(s.Content))
	return quarantine.Target{Path: path, Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, SHA256: hex.EncodeToString(sum[:]), App: "telegram"}
}

func TestTakeRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		options quarantine.Options
		change  func(t *testing.T, path string)
		want    error
	}{
		{"a held host", quarantine.Options{Holds: held(true)}, func(*testing.T, string) {}, quarantine.ErrHeld},
		{"what cannot be recorded", quarantine.Options{Recorder: &recorder{fail: syscall.ENOSPC}}, func(*testing.T, string) {}, syscall.ENOSPC},
		{"another file", quarantine.Options{}, func(t *testing.T, path string) {
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			write(t, path, "messenger")
		}, quarantine.ErrChanged},
		{"changed content", quarantine.Options{}, func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("Messenger"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, quarantine.ErrChanged},
		{"a link in its place", quarantine.Options{}, func(t *testing.T, path string) {
			if err := errors.Join(os.Rename(path, path+".old"), os.Symlink(path+".old", path)); err != nil {
				t.Fatal(err)
			}
		}, quarantine.ErrChanged},
		{"a FIFO in its place", quarantine.Options{}, func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, quarantine.ErrChanged},
		{"a linked folder above", quarantine.Options{}, func(t *testing.T, path string) {
			dir := filepath.Dir(path)
			if err := errors.Join(os.Rename(dir, dir+".old"), os.Symlink(dir+".old", dir)); err != nil {
				t.Fatal(err)
			}
		}, unix.ENOTDIR},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(realTemp(t), "home", "tsetup.exe")
			was := write(t, path, "messenger")
			c.change(t, path)
			s := open(t, realTemp(t), c.options)
			if _, err := s.Take(t.Context(), was); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("what is there was touched: %v", err)
			}
			if items, err := s.List(); err != nil || len(items) != 0 {
				t.Errorf("left behind %v, %v", items, err)
			}
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(path, stored string) error
		want   error
	}{
		{"to overwrite a file", func(path, _ string) error { return os.WriteFile(path, []byte("mine"), 0o600) }, quarantine.ErrExists},
		{"to overwrite a link", func(path, _ string) error { return os.Symlink("/etc/passwd", path) }, quarantine.ErrExists},
		{"without the folder", func(path, _ string) error { return os.Remove(filepath.Dir(path)) }, quarantine.ErrNoParent},
		{"through a link", func(path, _ string) error {
			dir := filepath.Dir(path)
			return errors.Join(os.Remove(dir), os.Symlink("/tmp", dir))
		}, unix.ENOTDIR},
		{"a damaged file", func(_, stored string) error { return os.WriteFile(stored, []byte("Messenger"), 0o600) }, quarantine.ErrChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := realTemp(t)
			path := filepath.Join(realTemp(t), "home", "tsetup.exe")
			s := open(t, dir, quarantine.Options{})
			item, err := s.Take(t.Context(), write(t, path, "messenger"))
			if err != nil {
				t.Fatal(err)
			}
			stored := filepath.Join(dir, "quarantine", item.ID)
			if err := c.change(path, stored); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Restore(t.Context(), item.ID); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, err := os.Lstat(stored); err != nil {
				t.Errorf("the item is gone: %v", err)
			}
		})
	}
	s := open(t, realTemp(t), quarantine.Options{})
	for _, id := range []string{"", "../../etc/passwd", string(event.NewID())} {
		if _, err := s.Restore(t.Context(), id); !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("restore %q: %v", id, err)
		}
	}
}

// TestSwapRace swaps the file, and the folder above it, for links to a victim while files are taken. The victim must never move or change.
func TestSwapRace(t *testing.T) {
	dir, outside := realTemp(t), realTemp(t)
	victim := filepath.Join(outside, "tsetup.exe")
	write(t, victim, "messenger") // the same name and content: only its place tells it apart
	before := stateOf(t, victim)
	home := filepath.Join(dir, "home")
	path := filepath.Join(home, "tsetup.exe")
	s := open(t, dir, quarantine.Options{})
	for range 200 {
		was := write(t, path, "messenger")
		var stop atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !stop.Load() {
				_ = os.Rename(home, home+".real")
				_ = os.Symlink(outside, home)
				_ = os.Remove(home)
				_ = os.Rename(home+".real", home)
				_ = os.Rename(path, path+".real")
				_ = os.Symlink(victim, path)
				_ = os.Remove(path)
				_ = os.Rename(path+".real", path)
			}
		}()
		_, _ = s.Take(t.Context(), was) // may fail: that is the point
		stop.Store(true)
		<-done
		if got := stateOf(t, victim); got.Content != before.Content || got.M != before.M || got.Mode != before.Mode {
			t.Fatalf("the victim was touched: %+v", got)
		}
		if fi, err := os.Lstat(home); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			if err := os.Remove(home); err != nil {
				t.Fatal(err)
			}
		}
	}
	items, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of 200 were taken", len(items))
}

// TestRecoverAfterCrash leaves what a crash would leave, and opens the store again.
func TestRecoverAfterCrash(t *testing.T) {
	dir := realTemp(t)
	path := filepath.Join(realTemp(t), "tsetup.exe")
	s := open(t, dir, quarantine.Options{})
	item, err := s.Take(t.Context(), write(t, path, "messenger"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "quarantine", item.ID+".json")
	b, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	half := strings.Replace(string(b), `"held"`, `"taking"`, 1)
	other := string(event.NewID())
	orphan := strings.ReplaceAll(half, item.ID, other)
	if err := errors.Join(os.WriteFile(manifest, []byte(half), 0o600),
		os.WriteFile(filepath.Join(dir, "quarantine", other+".json"), []byte(orphan), 0o600)); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, quarantine.Options{})
	items, err := again.List()
	if err != nil || len(items) != 1 || items[0].ID != item.ID || items[0].State != "held" {
		t.Fatalf("got %+v, %v", items, err)
	}
	if _, err := again.Restore(t.Context(), item.ID); err != nil {
		t.Fatal(err)
	}
}

func TestFolderIsClosedToOthers(t *testing.T) {
	dir := filepath.Join(realTemp(t), "quarantine")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s, err := quarantine.Open(dir, quarantine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	link := filepath.Join(realTemp(t), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if s, err := quarantine.Open(link, quarantine.Options{}); err == nil {
		s.Close()
		t.Error("a link was taken for the folder")
	}
}

// TestOwnerOfSystemFile asks the real package manager.
func TestOwnerOfSystemFile(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("dpkg is not installed")
	}
	path, err := filepath.EvalSymlinks("/usr/bin/dpkg")
	if err != nil {
		t.Fatal(err)
	}
	o, ok := quarantine.OwnerOf(t.Context(), path)
	if !ok || o.Manager != "dpkg" || o.Package != "dpkg" || o.Version == "" {
		t.Errorf("got %+v, %v", o, ok)
	}
	if got := strings.Join(o.Command(), " "); got != "dpkg --remove dpkg" {
		t.Errorf("command %q", got)
	}
	for _, path := range []string{filepath.Join(realTemp(t), "x"), "/usr/bin/*", "--help", ""} {
		if o, ok := quarantine.OwnerOf(t.Context(), path); ok {
			t.Errorf("%q is owned by %+v", path, o)
		}
	}
}

func TestRemoveRefuses(t *testing.T) {
	s := open(t, realTemp(t), quarantine.Options{Holds: held(true)})
	if err := s.Remove(t.Context(), quarantine.Owner{Manager: "dpkg", Package: "x"}, quarantine.Target{}); !errors.Is(err, quarantine.ErrHeld) {
		t.Errorf("on a held host: %v", err)
	}
	s = open(t, realTemp(t), quarantine.Options{})
	for _, o := range []quarantine.Owner{{Manager: "dpkg", Package: "--force-all"}, {Manager: "sh", Package: "x"}, {Manager: "dpkg"}} {
		if err := s.Remove(t.Context(), o, quarantine.Target{}); err == nil {
			t.Errorf("removed %+v", o)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"id":"01a212f6-a97c-7960-8785-884b5aba92d1","path":"/x","mode":420}`))
	f.Add([]byte(`{"id":"../../x","path":"/x"}`))
	f.Add([]byte(`{"id":"01a212f6-a97c-7960-8785-884b5aba92d1","path_base64":"//8="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := quarantine.ParseManifest(b)
		if err != nil {
			return
		}
		if path, err := i.RealPath(); err != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(i.ID, "/.") {
			t.Errorf("accepted %q, %q, %v", i.ID, path, err)
		}
	})
}

// TestLeft: the names that still lead to a file are those outside, which the quarantine's own are not.
func TestLeft(t *testing.T) {
	dir := realTemp(t)
	s := open(t, dir, quarantine.Options{})
	first := filepath.Join(dir, "files", "one")
	write(t, first, "program")
	write(t, filepath.Join(dir, "files", "other"), "program")
	paths := []string{first, first + "2", first + "3"}
	for _, p := range paths[1:] {
		if err := os.Link(first, p); err != nil {
			t.Fatal(err)
		}
	}
	for n, p := range append(paths, filepath.Join(dir, "files", "other")) {
		item, err := s.Take(t.Context(), target(t, p))
		if err != nil {
			t.Fatal(err)
		}
		if left, err := s.Left(item); err != nil || left != uint64(max(2-n, 0)) {
			t.Errorf("%s: %d names are left, %v; want %d", p, left, err, max(2-n, 0))
		}
	}
}
