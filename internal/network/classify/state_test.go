package classify

import (
	"strconv"
	"testing"
	"unsafe"
)

// TestSharedIsBounded: what is shared is one copy, a flood of other values takes bounded room, and what was given stays.
func TestSharedIsBounded(t *testing.T) {
	s := newShared[said]()
	one := s.get(said{decoder: "tls", ja4: "t13d"})
	if s.get(said{decoder: "tls", ja4: "t13d"}) != one {
		t.Error("the same is not shared")
	}
	for i := range 10 * maxShared {
		s.get(said{decoder: "tls", ja4: strconv.Itoa(i)})
	}
	if n := len(s.copies); n > maxShared {
		t.Errorf("%d copies are kept", n)
	}
	if *one != (said{decoder: "tls", ja4: "t13d"}) {
		t.Errorf("it became %v", *one)
	}
}

// TestStatesAreSmall: what a flow without a messenger costs is a few words, and nobody writes to what all begin with.
func TestStatesAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(state{}); size > 48 {
		t.Errorf("a state takes %d bytes", size)
	}
	if unnamed.app != "" || len(unnamed.evidence) > 0 || unnamed.rank != rankNone || *silent != (said{}) || *likeAnother != (said{decoder: candidateFact}) {
		t.Errorf("%v, %v, %v", *unnamed, *silent, *likeAnother)
	}
}
