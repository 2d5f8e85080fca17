package table_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/table"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

func TestTables(t *testing.T) {
	x := table.New()
	allowed, must, other := wire.Key{Ino: 1}, wire.Key{Ino: 2}, wire.Key{Ino: 1, Changed: 5}
	x.Remember(allowed)
	x.Must(must)
	for _, test := range []struct {
		what  string
		key   wire.Key
		quiet bool
		want  bool
	}{
		{"allowed", allowed, true, true},
		{"allowed, and somebody may write it", allowed, false, false},
		{"allowed, and changed since", other, true, false},
		{"cannot be done without", must, false, true},
	} {
		if got := x.Know(test.key, test.quiet); got != test.want {
			t.Errorf("%s: %v", test.what, got)
		}
	}
	if x.Renew(0) || !x.Current(0) || !x.Know(allowed, true) {
		t.Error("the same policy is another")
	}
	if !x.Renew(7) || !x.Current(7) || x.Current(0) || x.Know(allowed, true) || !x.Know(must, false) {
		t.Error("another policy forgets what was allowed, and no program that the machine needs")
	}
}

// TestLeave forgets what was allowed on a device whose number is free again.
func TestLeave(t *testing.T) {
	x := table.New()
	for dev := range uint64(3) {
		x.Remember(wire.Key{Dev: dev})
	}
	x.Must(wire.Key{Dev: 1, Ino: 1})
	x.Leave(func(device uint64) bool { return device == 1 })
	if !x.Know(wire.Key{Dev: 0}, true) || x.Know(wire.Key{Dev: 1}, true) || !x.Know(wire.Key{Dev: 2}, true) || !x.Know(wire.Key{Dev: 1, Ino: 1}, true) {
		t.Error("another device was forgotten, or this one was not")
	}
}

// TestBounds keeps the tables from growing without end.
func TestBounds(t *testing.T) {
	x := table.New()
	known, must := 0, 0
	for i := range uint64(300000) {
		x.Remember(wire.Key{Ino: i})
		x.Must(wire.Key{Ino: i, Dev: 1})
	}
	for i := range uint64(300000) {
		if x.Know(wire.Key{Ino: i}, true) {
			known++
		}
		if x.Know(wire.Key{Ino: i, Dev: 1}, true) {
			must++
		}
	}
	if known == 0 || known > 1<<18 || must != 4096 {
		t.Errorf("%d known, %d must", known, must)
	}
	if !x.Know(wire.Key{Ino: 299999}, true) {
		t.Error("the last one is forgotten")
	}
}
