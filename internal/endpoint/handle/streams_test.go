package handle

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// answer is what Windows says of a file with these streams.
func answer(names ...string) []byte {
	var out []byte
	for i, name := range names {
		units := utf16.Encode([]rune(name))
		b := make([]byte, (streamHead+2*len(units)+7)&^7)
		if i < len(names)-1 {
			binary.LittleEndian.PutUint32(b, uint32(len(b)))
		}
		binary.LittleEndian.PutUint32(b[4:], uint32(2*len(units)))
		binary.LittleEndian.PutUint64(b[8:], uint64(10*i))
		for k, u := range units {
			binary.LittleEndian.PutUint16(b[streamHead+2*k:], u)
		}
		out = append(out, b...)
	}
	return out
}

func TestParseStreams(t *testing.T) {
	whole := answer("::$DATA", ":Zone.Identifier:$DATA", ":tät 😀:$DATA", ":odd:$EA", ":last:$DATA")
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "[]"},
		{"the file alone", answer("::$DATA"), "[]"},
		{"more", append(slices.Clone(whole), make([]byte, 4096)...), "[{Zone.Identifier 10} {tät 😀 20} {last 40}]"},
		{"cut", whole[:len(whole)-1], "[{Zone.Identifier 10} {tät 😀 20} {last 40}]"},
		{"cut in a name", whole[:len(whole)-20], "[{Zone.Identifier 10} {tät 😀 20}]"},
	} {
		if got := fmt.Sprint(parseStreams(c.b)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for _, at := range []int{0, 4, 8} { // an entry that leads out, a name that is too long, a size below zero
		bad := slices.Clone(whole)
		copy(bad[at:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}[:4+4*(at/8)])
		if got := parseStreams(bad); len(got) > 0 {
			t.Errorf("damaged at %d: %v", at, got)
		}
	}
}

// TestNoStreams: where there is no such thing there are none, and none can be opened.
func TestNoStreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s, err := Streams(f); err != nil || len(s) > 0 {
		t.Errorf("%v, %v", s, err)
	}
	if g, err := OpenStream(f, "none", path+":none"); err == nil || !strings.Contains(err.Error(), "x:none") {
		t.Errorf("%v, %v", g, err)
	}
}

func FuzzParseStreams(f *testing.F) {
	f.Add(answer("::$DATA", ":a:$DATA"))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range parseStreams(b) {
			if s.Name == "" || s.Size < 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}
