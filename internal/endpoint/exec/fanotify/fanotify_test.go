package fanotify

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

// event writes one event as the kernel does.
func event(length uint32, mask uint64, fd, thread int32) []byte {
	e := binary.NativeEndian
	b := e.AppendUint32(nil, length)
	b = append(b, 3, 0, 24, 0)
	b = e.AppendUint64(b, mask)
	b = e.AppendUint32(b, uint32(fd))
	return e.AppendUint32(b, uint32(thread))
}

func TestParse(t *testing.T) {
	two := append(event(24, unix.FAN_OPEN_EXEC_PERM, 7, 100), event(24, unix.FAN_OPEN_PERM, 8, 101)...)
	two = append(two, event(24, 1<<14, -1, 0)...) // an overflow has no file
	got, err := parse(nil, two)
	if err != nil || !slices.Equal(got, []Event{{7, 100, false}, {8, 101, true}}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, b := range [][]byte{two[:30], event(0, 0, 1, 1), event(100, 0, 1, 1), {1}} {
		if _, err := parse(nil, b); !errors.Is(err, ErrEvent) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(event(24, unix.FAN_OPEN_EXEC_PERM, 7, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := parse(nil, b)
		if err == nil && len(events) > len(b)/metadataSize {
			t.Errorf("%d events in %d bytes", len(events), len(b))
		}
	})
}

// TestMay holds the guard that keeps tests off the machine's own file systems.
func TestMay(t *testing.T) {
	table := []mounts.Mount{{Device: "253:0", Point: "/"}, {Device: "253:0", Point: "/t/w/bound"}, {Device: "7:0", Point: "/t/w/loop"}, {Device: "7:1", Point: "/t/wx"},
		{Device: "7:2", Point: "/t/w"}}
	var got []string
	m := &Marks{only: "/t/w"}
	for i := range table {
		if m.may(&table[i], table) {
			got = append(got, table[i].Point)
		}
	}
	if !slices.Equal(got, []string{"/t/w/loop", "/t/w"}) {
		t.Errorf("%q", got)
	}
	if all := (&Marks{}); !all.may(&table[0], table) {
		t.Error("without a folder everything is watched")
	}
}

// TestBy tells processes by their group, whatever thread waits.
func TestBy(t *testing.T) {
	here := Event{Thread: int32(unix.Gettid())}
	if own := unix.Getpgrp(); !here.By(own) || here.By(own+1) {
		t.Errorf("a thread of group %d is not told", own)
	}
	if gone := (Event{Thread: 1 << 30}); gone.By(0) || gone.By(unix.Getpgrp()) {
		t.Error("who is gone is of a group")
	}
}

// TestGroup makes a group that watches nothing: what it does with real events is tried in cmd/chaperone/agentcmd.
func TestGroup(t *testing.T) {
	g, err := NewGroup()
	if os.Geteuid() != 0 {
		if !errors.Is(err, unix.EPERM) {
			t.Error(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if events, err := g.Read(); len(events) > 0 || err != nil {
		t.Error(events, err)
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, opens := range []bool{false, true} {
		if err := errors.Join(g.Ignore(int(f.Fd()), opens), g.Ignore(int(f.Fd()), opens)); err != nil {
			t.Error(err)
		}
	}
	if err := g.Forget(); err != nil {
		t.Error(err)
	}
	if err := g.Answer(int(f.Fd()), false, unix.ETXTBSY); err != nil { // nobody waits for it
		t.Error(err)
	}
	m, err := NewMarks(g, t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if gone, err := m.Update(); err != nil || len(m.said) > 0 || gone != nil && gone(0) {
			t.Error(err, m.said)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
