package file_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/journal/journaltest"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// disk is a layer between the writer and its segments that fails as it is told, and knows what a power loss may take.
type disk struct {
	mu     sync.Mutex
	fail   map[string]error // by operation: write, sync, truncate
	part   int              // bytes that a failing write still writes
	off    bool             // the power is off: everything fails
	synced map[string]int64
	size   map[string]int64
}

func newDisk() *disk {
	return &disk{fail: map[string]error{}, synced: map[string]int64{}, size: map[string]int64{}}
}

func (d *disk) wrap(s file.Segment) file.Segment {
	f := s.(*os.File)
	info, err := f.Stat()
	if err == nil {
		d.mu.Lock()
		d.size[f.Name()], d.synced[f.Name()] = info.Size(), info.Size()
		d.mu.Unlock()
	}
	return &faulty{f, d}
}

func (d *disk) set(operation string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail[operation] = err
}

func (d *disk) failure(operation string) error {
	if d.off {
		return syscall.EIO
	}
	return d.fail[operation]
}

type faulty struct {
	*os.File
	disk *disk
}

func (f *faulty) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failure("write"); err != nil {
		n, _ := f.File.Write(p[:min(len(p), f.disk.part)])
		f.disk.size[f.Name()] += int64(n)
		return n, err
	}
	n, err := f.File.Write(p)
	f.disk.size[f.Name()] += int64(n)
	return n, err
}

func (f *faulty) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failure("sync"); err != nil {
		return err
	}
	f.disk.synced[f.Name()] = f.disk.size[f.Name()]
	return nil
}

func (f *faulty) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failure("truncate"); err != nil {
		return err
	}
	f.disk.size[f.Name()] = size
	return f.File.Truncate(size)
}

// powerOff ends everything and leaves of what was not synced some part, or zeros in its place.
func (d *disk) powerOff(t *testing.T, r *rand.Rand) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	for path, size := range d.size {
		synced := d.synced[path]
		if size <= synced {
			continue
		}
		keep := synced + r.Int63n(size-synced+1)
		err := os.Truncate(path, keep)
		if err == nil && r.Intn(2) == 0 {
			err = os.Truncate(path, size)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// load appends from many goroutines until it cannot, and returns what was acknowledged.
func load(j *file.Journal, from *atomic.Int64, enough func(acknowledged int) bool) []int {
	var mu sync.Mutex
	var acknowledged []int
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for {
				n := int(from.Add(1))
				if _, err := j.Append(context.Background(), journaltest.Record(n)); err != nil {
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, n)
				stop := enough(len(acknowledged))
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	group.Wait()
	return acknowledged
}

// check fails the test when a record that was acknowledged is missing, or the chain is broken. It returns what is there.
func check(t *testing.T, j journal.Reader, acknowledged []int) map[int]bool {
	t.Helper()
	frames := journaltest.All(t, j, journal.Local, 1)
	journaltest.CheckChain(t, frames)
	there := map[int]bool{}
	for _, f := range frames {
		for _, r := range f.Records {
			n := journaltest.Number(r)
			if there[n] {
				t.Fatalf("record %d is there twice", n)
			}
			there[n] = true
		}
	}
	for _, n := range acknowledged {
		if !there[n] {
			t.Fatalf("record %d was acknowledged and is gone", n)
		}
	}
	return there
}

func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	var all []int
	var from atomic.Int64
	for round := range 40 {
		r := rand.New(rand.NewSource(int64(round)))
		d := newDisk()
		j, _ := open(t, dir, file.Options{Wrap: d.wrap, SegmentSize: 20_000})
		check(t, j, all)
		stop := 1 + r.Intn(100)
		all = append(all, load(j, &from, func(n int) bool {
			if n == stop {
				d.powerOff(t, r)
			}
			return false
		})...)
		j.Close()
	}
	j, _ := open(t, dir, file.Options{})
	check(t, j, all)
}

// TestFailingDisk makes each operation fail in turn, also while the writer tries to repair: nobody is acknowledged meanwhile, readers see
// nothing of it, and it goes on when the disk does.
func TestFailingDisk(t *testing.T) {
	for name, fail := range map[string][]string{
		"write": {"write"}, "sync": {"sync"}, "write and truncate": {"write", "truncate"}, "sync and truncate": {"sync", "truncate"},
		"everything": {"write", "sync", "truncate"},
	} {
		for _, part := range []int{0, 1, 50, 1 << 20} {
			for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT} {
				t.Run(fmt.Sprintf("%s, %d bytes, %v", name, part, cause), func(t *testing.T) {
					dir, d := t.TempDir(), newDisk()
					d.part = part
					j, _ := open(t, dir, file.Options{Wrap: d.wrap, SegmentSize: 500})
					for round := range 4 {
						if _, err := j.Append(t.Context(), journaltest.Record(2*round)); err != nil {
							t.Fatal(err)
						}
						for _, operation := range fail {
							d.set(operation, cause)
						}
						for range 2 {
							_, err := j.Append(t.Context(), journaltest.Record(2*round+1))
							if !errors.Is(err, cause) || errors.Is(err, journal.ErrFull) == errors.Is(cause, syscall.EIO) {
								t.Fatalf("the disk fails: %v", err)
							}
							if got := len(check(t, j, nil)); got != round+1 {
								t.Fatalf("readers see %d records of %d", got, round+1)
							}
						}
						clear(d.fail)
					}
					if got := check(t, j, []int{0, 2, 4, 6}); len(got) != 4 {
						t.Errorf("%v", got)
					}
					j.Close()
					j, cut := open(t, dir, file.Options{})
					if got := check(t, j, []int{0, 2, 4, 6}); len(got) != 4 && cut == nil {
						t.Errorf("after reopening: %v", got)
					}
				})
			}
		}
	}
}

// TestHungDisk: a disk that does not answer makes callers wait no longer than they want to, and what still waited is not written later.
func TestHungDisk(t *testing.T) {
	d := newDisk()
	j, _ := open(t, t.TempDir(), file.Options{Wrap: d.wrap})
	if _, err := j.Append(t.Context(), journaltest.Record(0)); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock() // the disk hangs
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range 3000 { // more than the queue holds
		group.Go(func() {
			if _, err := j.Append(ctx, journaltest.Record(i+1)); !errors.Is(err, context.Canceled) {
				t.Errorf("record %d: %v", i+1, err)
			}
		})
	}
	cancel()
	group.Wait()
	d.mu.Unlock()
	if _, err := j.Append(t.Context(), journaltest.Record(9999)); err != nil {
		t.Fatal(err)
	}
	if there := check(t, j, []int{0, 9999}); len(there) > 2+1024 {
		t.Errorf("%d records are there", len(there))
	}
}

// TestSmallDisk fills a real file system.
func TestSmallDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		if os.Getenv("CHAPERONE_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("needs root to mount a small file system:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	j, _ := open(t, dir, file.Options{SegmentSize: 30_000})
	t.Cleanup(func() { j.Close() })
	var from atomic.Int64
	acknowledged := load(j, &from, func(int) bool { return false })
	if len(acknowledged) < 100 {
		t.Fatalf("%d records fit", len(acknowledged))
	}
	large := journal.Record{Header: []byte("{}"), Sealed: make([]byte, 256<<10)} // a small one might still fit
	if _, err := j.Append(t.Context(), large); !errors.Is(err, journal.ErrFull) {
		t.Errorf("no space is left: %v", err)
	}
	check(t, j, acknowledged)
	segments, _ := filepath.Glob(filepath.Join(dir, "journal", "local", "*.seg"))
	if err := os.Rename(segments[0], filepath.Join(t.TempDir(), "x")); err == nil {
		t.Fatal("moved to another file system?")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	n := int(from.Add(1))
	if _, err := j.Append(t.Context(), journaltest.Record(n)); err != nil {
		t.Fatalf("there is space again: %v", err)
	}
	check(t, j, append(acknowledged, n))
	j.Close()
	j, cut := open(t, dir, file.Options{})
	if check(t, j, append(acknowledged, n)); cut != nil {
		t.Errorf("cut %+v", cut)
	}
}
