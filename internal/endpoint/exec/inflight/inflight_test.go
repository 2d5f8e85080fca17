package inflight_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/inflight"
)

// open maps a memory; each mapping is what another process would have.
func open(t *testing.T, f *os.File) *inflight.Memory {
	t.Helper()
	m, err := inflight.Map(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func create(t *testing.T) *os.File {
	t.Helper()
	f, err := inflight.Create()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func texts(left []inflight.Left) string {
	var all []string
	for _, l := range left {
		all = append(all, string(l.Event))
	}
	return strings.Join(all, " ")
}

// TestTheNextOneFindsWhatWasLeft in the order in which it came, until it is done.
func TestTheNextOneFindsWhatWasLeft(t *testing.T) {
	f := create(t)
	first := open(t, f)
	first.Put([]byte("one"))
	first.Done(first.Put([]byte("two")))
	first.Put([]byte("three"))
	first.Late(3)
	second := open(t, f)
	left, lost, late := second.Left()
	if texts(left) != "one three" || lost != 0 || late != 3 {
		t.Errorf("%s, %d lost, %d late", texts(left), lost, late)
	}
	second.Done(left[0].Ticket)
	left, lost, late = open(t, f).Left()
	if texts(left) != "three" || lost != 0 || late != 0 {
		t.Errorf("%s, %d lost, %d late", texts(left), lost, late)
	}
	second.Late(2)
	if n := first.TakeLate(); n != 2 {
		t.Errorf("%d late", n)
	}
}

// TestNoRoom counts what was overwritten, but not what was safe elsewhere by then, and what is too long.
func TestNoRoom(t *testing.T) {
	f := create(t)
	m := open(t, f)
	var tickets []inflight.Ticket
	for i := range 700 {
		tickets = append(tickets, m.Put(fmt.Appendf(nil, "%d", i)))
	}
	for _, ticket := range tickets[:100] { // of 188 that were overwritten
		m.Done(ticket)
	}
	if ticket := m.Put(make([]byte, inflight.Largest+1)); ticket != 0 {
		t.Error("it has room")
	}
	m.Done(0)
	left, lost, _ := open(t, f).Left()
	if len(left) != 512 || string(left[0].Event) != "188" || string(left[511].Event) != "699" || lost != 89 {
		t.Errorf("%d left from %s on, %d lost", len(left), left[0].Event, lost)
	}
	if _, lost, _ := m.Left(); lost != 0 {
		t.Errorf("counted twice: %d", lost)
	}
}

// TestSideBySide has many put at once.
func TestSideBySide(t *testing.T) {
	f := create(t)
	m := open(t, f)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				ticket := m.Put(bytes.Repeat([]byte{byte('a' + i)}, 100+i))
				if i%2 == 0 {
					m.Done(ticket)
				}
			}
		})
	}
	wg.Wait()
	left, lost, _ := open(t, f).Left()
	if len(left) != 200 || lost != 0 {
		t.Errorf("%d left, %d lost", len(left), lost)
	}
	for _, l := range left {
		if len(bytes.Trim(l.Event, string(l.Event[:1]))) > 0 || len(l.Event) != 100+int(l.Event[0]-'a') {
			t.Errorf("mixed: %s", l.Event)
		}
	}
}

// TestForeign is refused: a file that somebody could cut off below us.
func TestForeign(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(64 + 512*4096); err != nil {
		t.Fatal(err)
	}
	if _, err := inflight.Map(int(f.Fd())); err == nil {
		t.Error("it was taken")
	}
}

// FuzzLeft reads whatever lies in the memory.
func FuzzLeft(f *testing.F) {
	f.Add([]byte("IPCHINK1"), uint64(5))
	f.Add(bytes.Repeat([]byte{2, 0, 0, 0, 255, 255, 255, 255}, 512), uint64(1)<<63)
	f.Fuzz(func(t *testing.T, b []byte, next uint64) {
		file := create(t)
		m := open(t, file)
		m.Put([]byte("x"))
		if _, err := file.WriteAt(binary.LittleEndian.AppendUint64(nil, next), 8); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b[:min(len(b), 512*4096)], 64); err != nil {
			t.Fatal(err)
		}
		left, lost, _ := m.Left()
		if len(left) > 512 || lost > 1024 {
			t.Errorf("%d left, %d lost", len(left), lost)
		}
		for _, l := range left {
			m.Done(l.Ticket)
		}
		m.Put([]byte("y"))
	})
}

func BenchmarkPut(b *testing.B) {
	f, err := inflight.Create()
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	m, err := inflight.Map(int(f.Fd()))
	if err != nil {
		b.Fatal(err)
	}
	event := bytes.Repeat([]byte("x"), 1500)
	for b.Loop() {
		m.Done(m.Put(event))
	}
}
