package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

func spooledMessage(n int) *event.Event {
	at := time.Date(2026, 3, 1, 9, 0, n, 0, time.UTC)
	return &event.Event{ID: event.NewID(), Kind: event.Message, Time: at, Received: at, Connector: "office", Reason: event.ReasonLate,
		From: event.Party{Handle: "alice@example.org", Person: "alice"}, Room: event.Room{Name: "desk@rooms.example.org"},
		Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}, Content: event.Content{Text: strconv.Itoa(n), Native: "not UTF-8: \xff", Raw: []byte("<raw/>")}}
}

func openSpool(t testing.TB, dir string, size int64) *file.Spool {
	t.Helper()
	s, err := file.OpenSpool(dir, "office", size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *file.Spool, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := s.Put(t.Context(), spooledMessage(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// next returns the numbers of what waits.
func next(t testing.TB, s *file.Spool, most int) ([]int, int) {
	t.Helper()
	events, damaged, err := s.Next(most)
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, e := range events {
		n, err := strconv.Atoi(e.Text)
		want := spooledMessage(n)
		if err != nil || e.Native != want.Native || e.From.Person != "alice" || e.Room != want.Room || !e.Received.Equal(want.Received) || e.Verdict.Rule != "otherwise" || e.Reason != event.ReasonLate {
			t.Fatalf("came back as %+v", e)
		}
		out = append(out, n)
	}
	return out, damaged
}

func numbers(from, to int) []int {
	var out []int
	for n := from; n < to; n++ {
		out = append(out, n)
	}
	return out
}

func expect(t testing.TB, s *file.Spool, most int, want []int, wantDamaged int) {
	t.Helper()
	if got, damaged := next(t, s, most); !slices.Equal(got, want) || damaged != wantDamaged {
		t.Fatalf("%v wait and %d are damaged, want %v and %d", got, damaged, want, wantDamaged)
	}
}

func TestSpoolGivesInOrderAndOnce(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir, 1<<20)
	expect(t, s, 10, nil, 0)
	put(t, s, 0, 7)
	select {
	case <-s.Waiting():
	default:
		t.Error("nobody is told")
	}
	expect(t, s, 3, numbers(0, 3), 0)
	expect(t, s, 3, numbers(0, 3), 0) // until it is done
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openSpool(t, dir, 1<<20)
	select {
	case <-s.Waiting():
	default:
		t.Error("nobody is told after a restart")
	}
	expect(t, s, 10, numbers(3, 7), 0)
	put(t, s, 7, 9)
	expect(t, s, 10, numbers(3, 9), 0)
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	expect(t, s, 10, nil, 0)
	put(t, s, 20, 22) // shorter than what was there
	s.Close()
	expect(t, openSpool(t, dir, 1<<20), 10, numbers(20, 22), 0)
}

func TestSpoolIsSealedAndWiped(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir, 1<<20)
	put(t, s, 0, 3)
	raw, err := os.ReadFile(file.SpoolPath(dir, "office"))
	if err != nil || bytes.Contains(raw, []byte("alice")) || bytes.Contains(raw, []byte("<raw/>")) || len(raw) != 1<<20 {
		t.Errorf("the file says who wrote, or has no room: %d bytes, %v", len(raw), err)
	}
	for _, path := range []string{file.SpoolPath(dir, "office"), filepath.Join(dir, "state", "spool.key")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	next(t, s, 10)
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	if raw, err = os.ReadFile(file.SpoolPath(dir, "office")); err != nil || len(bytes.Trim(raw, "\x00")) != 0 {
		t.Errorf("something of what is recorded is still there (%v)", err)
	}
}

func TestSpoolNamesAndSize(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"office", "../../etc", "a/b", ""} {
		s, err := file.OpenSpool(dir, name, 4096)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(file.SpoolPath(dir, name)) != filepath.Join(dir, "state") {
			t.Errorf("%q lies at %s", name, file.SpoolPath(dir, name))
		}
		s.Close()
	}
	s := openSpool(t, dir, 1000)
	kept := 0
	var err error
	for ; err == nil && kept < 100; kept++ {
		err = s.Put(t.Context(), spooledMessage(kept))
	}
	if kept--; !errors.Is(err, journal.ErrFull) || kept < 2 {
		t.Fatalf("%d kept, then %v", kept, err)
	}
	expect(t, s, 100, numbers(0, kept), 0)
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	put(t, s, 0, kept) // there is room again
	if s, err := file.OpenSpool(dir, "office", 0); err != nil {
		t.Error(err)
	} else {
		s.Close()
	}
}

// spoolBytes returns the bytes of a spool with n entries, and where each begins.
func spoolBytes(t testing.TB, dir string, n int) ([]byte, []int) {
	t.Helper()
	s := openSpool(t, dir, 1<<16)
	put(t, s, 0, n)
	s.Close()
	raw, err := os.ReadFile(file.SpoolPath(dir, "office"))
	if err != nil {
		t.Fatal(err)
	}
	var starts []int
	for at := 0; ; at++ {
		i := bytes.Index(raw[at:], []byte("WCSP1"))
		if i < 0 {
			return raw, starts
		}
		at += i
		starts = append(starts, at)
	}
}

// stride is small within the head of an entry, and large in what is sealed.
func stride(offset int) int {
	if offset < 20 {
		return 3
	}
	return 97
}

// TestTornTailOfASpoolIsCut cuts and blurs the last entry at many bytes, those of its head among them: the others are there, and the next one goes where it was.
func TestTornTailOfASpoolIsCut(t *testing.T) {
	dir := t.TempDir()
	raw, starts := spoolBytes(t, dir, 3)
	end := len(bytes.TrimRight(raw, "\x00"))
	path := file.SpoolPath(dir, "office")
	for at := starts[2] + 1; at < end; at += stride(at - starts[2]) {
		for _, torn := range [][]byte{raw[:at], append(slices.Clone(raw[:at]), make([]byte, len(raw)-at)...), append(slices.Clone(raw[:at]), bytes.Repeat([]byte{'W'}, 90)...)} {
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openSpool(t, dir, 1<<16)
			expect(t, s, 9, numbers(0, 2), 0)
			if at%4 == 0 {
				put(t, s, 2, 4)
				s.Close()
				s = openSpool(t, dir, 1<<16)
				expect(t, s, 9, numbers(0, 4), 0)
			}
			s.Close()
		}
	}
}

// TestDamagedSpoolSaysHowMany flips bytes of an entry that is not the last: it is missed and counted, and the others come.
func TestDamagedSpoolSaysHowMany(t *testing.T) {
	dir := t.TempDir()
	raw, starts := spoolBytes(t, dir, 4)
	path := file.SpoolPath(dir, "office")
	for _, broken := range []int{0, 1} {
		for at := starts[broken]; at < starts[broken+1]; at += stride(at - starts[broken]) {
			bad := slices.Clone(raw)
			bad[at] ^= 0x10
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openSpool(t, dir, 1<<16)
			expect(t, s, 9, slices.Delete(numbers(0, 4), broken, broken+1), 1)
			if err := s.Done(); err != nil {
				t.Fatal(err)
			}
			expect(t, s, 9, nil, 0)
			s.Close()
		}
	}
}

func TestSpoolOfAnotherKey(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir, 1<<16)
	put(t, s, 0, 2)
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "state", "spool.key"), bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, openSpool(t, dir, 1<<16), 9, nil, 0)
	if err := os.WriteFile(filepath.Join(dir, "state", "spool.key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.OpenSpool(dir, "office", 0); err == nil {
		t.Error("a key that is too short was taken")
	}
}

func TestClosedSpool(t *testing.T) {
	s := openSpool(t, t.TempDir(), 1<<16)
	put(t, s, 0, 1)
	s.Close()
	if err := s.Put(t.Context(), spooledMessage(1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("put: %v", err)
	}
	if _, _, err := s.Next(1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("next: %v", err)
	}
}

// spoolVictim spools under load, and says what was kept, until it is killed.
func spoolVictim(dir string, from int64) error {
	s, err := file.OpenSpool(dir, "office", 8<<20)
	if err != nil {
		return err
	}
	for n := int(from); ; n++ {
		if err := s.Put(context.Background(), spooledMessage(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKilledSpool kills a process that spools at random moments: all that it kept is there, in order, and nothing twice.
func TestKilledSpool(t *testing.T) {
	kills := 8
	if testing.Short() {
		kills = 2
	}
	dir := t.TempDir()
	for round := range kills {
		kept := killOne(t, dir, round*1_000_000, crashSpool+"=1")
		s := openSpool(t, dir, 8<<20)
		got, damaged := next(t, s, 1<<20)
		if damaged != 0 || len(got) < len(kept) || len(got) > len(kept)+2 {
			t.Fatalf("%d kept, %d there, %d damaged", len(kept), len(got), damaged)
		}
		if !slices.Equal(got, numbers(round*1_000_000, round*1_000_000+len(got))) {
			t.Fatalf("out of order: %v", got)
		}
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

// TestSpoolOnAFullDisk: room for the spool was made when there was some; a spool that finds none says so at once.
func TestSpoolOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "1m")
	s := openSpool(t, dir, 256<<10)
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("the disk is not full:", err)
	}
	put(t, s, 0, 200)
	s.Close()
	s = openSpool(t, dir, 256<<10)
	expect(t, s, 1000, numbers(0, 200), 0)
	if err := s.Done(); err != nil {
		t.Error(err)
	}
	if _, err := file.OpenSpool(dir, "another", 256<<10); !errors.Is(err, journal.ErrFull) {
		t.Errorf("a spool without room: %v", err)
	}
}

func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CHAPERONE_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("needs root to mount a small file system:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestSpoolTakesFromMany(t *testing.T) {
	s := openSpool(t, t.TempDir(), 4<<20)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for n := range 20 {
				if err := s.Put(t.Context(), spooledMessage(100*w+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	total := 0
	for total < 160 {
		<-s.Waiting()
		for {
			got, _ := next(t, s, 7)
			if len(got) == 0 {
				break
			}
			total += len(got)
			if err := s.Done(); err != nil {
				t.Fatal(err)
			}
		}
	}
	group.Wait()
	expect(t, s, 9, nil, 0)
}

// FuzzSpool checks that no bytes of a spool stop it or are given as what was spooled.
func FuzzSpool(f *testing.F) {
	dir := f.TempDir()
	raw, starts := spoolBytes(f, dir, 3)
	raw = bytes.TrimRight(raw, "\x00")
	f.Add(raw)
	f.Add(raw[:starts[2]+9])
	f.Add(raw[starts[1]:])
	f.Add([]byte(strings.Repeat("WCSP1\x00\x00\x00\x18", 9)))
	path := file.SpoolPath(dir, "office")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := file.OpenSpool(dir, "office", 1<<12)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, _ := next(t, s, 1000)
		if !slices.IsSorted(got) || len(got) > 3 {
			t.Fatalf("gives %v", got)
		}
		if err := s.Put(t.Context(), spooledMessage(9)); err == nil {
			if all, _ := next(t, s, 1000); len(all) != len(got)+1 {
				t.Fatalf("after another one it gives %v", all)
			}
		}
	})
}

func BenchmarkSpool(b *testing.B) {
	s := openSpool(b, b.TempDir(), 64<<20)
	e := spooledMessage(1)
	for b.Loop() {
		if err := s.Put(b.Context(), e); errors.Is(err, journal.ErrFull) {
			b.StopTimer()
			s.Next(1 << 20)
			s.Done()
			b.StartTimer()
		} else if err != nil {
			b.Fatal(err)
		}
	}
}
