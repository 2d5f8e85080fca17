package scan_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// disk skips where temporary files lie on a file system whose times of change are not trusted.
func disk(t testing.TB, dir string) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC:
	default:
		t.Skip("temporary files are not on a local disk")
	}
}

// later makes the scanner believe that all files have been there for a while.
func later() time.Time { return time.Now().Add(time.Hour) }

// TestRescan looks only into what has changed, and still finds what it found before.
func TestRescan(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	disk(t, dir)
	for i := range 20 {
		write(t, filepath.Join(dir, fmt.Sprint(i)), programtest.PE(map[string]string{"ProductName": fmt.Sprint("Calculator ", i)}))
	}
	write(t, filepath.Join(dir, "holiday.jpg"), scantest.Installer())
	write(t, filepath.Join(dir, "broken.zip"), []byte("PK\x03\x04 and no more"))
	memory := func() *rescan.Memory {
		m, err := rescan.Open(state, "rules")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	again := func(known int64, name string) {
		t.Helper()
		m := memory()
		r := run(t, scan.Options{Memory: m, Now: later}, dir)
		if r.summary.Known != known || r.findings["holiday.jpg"] == nil || len(r.problems) != 1 {
			t.Errorf("%s: %d known of %d, findings %q, problems %q", name, r.summary.Known, r.summary.Files, r.order, r.problems)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	again(0, "first")
	again(20, "again")
	// The content changes, and everything that a user can set is set back.
	path := filepath.Join(dir, "3")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("x"), info.Size()-1)
	if err := errors.Join(err, f.Close(), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	again(19, "after a change whose times were set back")
	if err := os.Rename(filepath.Join(dir, "4"), filepath.Join(dir, "5")); err != nil {
		t.Fatal(err)
	}
	m := memory()
	if r := run(t, scan.Options{Memory: m}, dir); r.summary.Files != 21 {
		t.Errorf("%+v", r.summary)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRecentFilesAreNotRemembered: what changed a moment ago is looked into again.
func TestRecentFilesAreNotRemembered(t *testing.T) {
	dir := t.TempDir()
	disk(t, dir)
	write(t, filepath.Join(dir, "a"), []byte("some text of no interest"))
	m, err := rescan.Open(t.TempDir(), "rules")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 2 {
		if r := run(t, scan.Options{Memory: m}, dir); r.summary.Known != 0 {
			t.Errorf("%+v", r.summary)
		}
	}
}

// TestMemoryOfMemory: files on tmpfs are looked into each time.
func TestMemoryOfMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "chaperone-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || int64(st.Type) != unix.TMPFS_MAGIC {
		t.Skip("/dev/shm is no tmpfs")
	}
	write(t, filepath.Join(dir, "a"), []byte("some text of no interest"))
	m, err := rescan.Open(t.TempDir(), "rules")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 2 {
		if r := run(t, scan.Options{Memory: m, Now: later}, dir); r.summary.Known != 0 {
			t.Errorf("%+v", r.summary)
		}
	}
}

// TestWaits stands still while it is told to.
func TestWaits(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), []byte("text"))
	asked := 0
	if r := run(t, scan.Options{Pause: func() bool { asked++; return asked < 2 }}, dir); r.summary.Files != 1 || asked != 2 {
		t.Errorf("%+v, asked %d times", r.summary, asked)
	}
}

func BenchmarkRescan(b *testing.B) {
	dir := b.TempDir()
	disk(b, dir)
	const folders, files = 200, 100
	for i := range folders {
		folder := filepath.Join(dir, fmt.Sprint("folder-", i))
		if err := os.Mkdir(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range files {
			write(b, filepath.Join(folder, fmt.Sprint("some-file-", j)), []byte("some text of no interest"))
		}
	}
	m, err := rescan.Open(b.TempDir(), "rules")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	run(b, scan.Options{Memory: m, Now: later}, dir)
	s := newScanner(b, scan.Options{Memory: m, Now: later})
	for b.Loop() {
		sum, err := s.Scan(b.Context(), []string{dir}, func(scan.Result) error { return nil })
		if err != nil || sum.Known != folders*files {
			b.Fatal(sum, err)
		}
	}
	b.ReportMetric(float64(folders*files*b.N)/b.Elapsed().Seconds(), "files/s")
}
