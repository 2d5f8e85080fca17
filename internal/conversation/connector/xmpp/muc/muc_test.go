package muc

import (
	"strconv"
	"testing"
)

func TestRoomsAreBounded(t *testing.T) {
	r := Rooms{total: maxOccupants - 1}
	r.Enter("a", "x", "x@example.org")
	r.Enter("a", "y", "y@example.org")
	r.Enter("b", "y", "y@example.org")
	if len(r.Audience("a")) != 1 || r.Handle("a", "x") != "x@example.org" || r.Handle("a", "y") != "a/y" || len(r.rooms) != 1 {
		t.Errorf("audience %v of %d rooms", r.Audience("a"), len(r.rooms))
	}
	r.Leave("a", "x")
	r.Leave("a", "x")
	if len(r.rooms) != 0 || r.total != maxOccupants-1 {
		t.Errorf("%d rooms, %d occupants", len(r.rooms), r.total)
	}
}

func TestWhoIsInARoom(t *testing.T) {
	var r Rooms
	r.Leave("a", "nobody")
	r.Enter("a", "hidden", "")
	if got := r.Audience("a"); len(got) != 1 || got[0].Handle != "a/hidden" || r.Handle("a", "hidden") != "a/hidden" {
		t.Errorf("%v", got)
	}
	r.Enter("a", "hidden", "x@example.org") // a moderator sees more, and what is known stays known
	r.Enter("a", "hidden", "")
	if r.Handle("a", "hidden") != "x@example.org" {
		t.Error("forgotten")
	}
	for i := range 2 * maxAudience {
		r.Enter("b", strconv.Itoa(i), "x@example.org")
	}
	if len(r.Audience("b")) != maxAudience || len(r.Audience("c")) != 0 {
		t.Errorf("an audience of %d", len(r.Audience("b")))
	}
}
