package wire_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

func TestMessagesComeBack(t *testing.T) {
	for _, m := range []wire.Message{
		{Kind: wire.Ask, Flags: wire.Quiet | wire.Open, Thread: 4711, ID: 1, Key: wire.Key{Dev: 7, Ino: 1 << 40, Size: -1, Changed: 1 << 60}},
		{Kind: wire.Answer, Flags: wire.Allow | wire.Remember, ID: ^uint64(0), Generation: 9},
		{Kind: wire.Generation, Generation: 12},
		{Kind: wire.MustRun, Key: wire.Key{Dev: 1, Ino: 2, Size: 3, Changed: 4}},
		{Kind: wire.Ready},
	} {
		b := m.Append(nil)
		if len(b) != wire.Size {
			t.Fatalf("%d bytes", len(b))
		}
		back, err := wire.Parse(b)
		if err != nil || back != m {
			t.Errorf("%+v became %+v, %v", m, back, err)
		}
	}
}

func TestHas(t *testing.T) {
	m := wire.Message{Flags: wire.Allow | wire.Remember}
	if !m.Has(wire.Allow) || !m.Has(wire.Allow|wire.Remember) || m.Has(wire.Ignore) || m.Has(wire.Allow|wire.Ignore) {
		t.Error("flags are mixed up")
	}
}

func TestMalformed(t *testing.T) {
	good := (&wire.Message{Kind: wire.Ready}).Append(nil)
	other := bytes.Clone(good)
	other[0] = 99
	for _, b := range [][]byte{nil, good[:wire.Size-1], append(bytes.Clone(good), 0), make([]byte, wire.Size), other} {
		if _, err := wire.Parse(b); !errors.Is(err, wire.ErrMessage) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestRootOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("abc"), 0o755); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if k := wire.KeyOf(&st); k.Size != 3 || k.Ino != st.Ino || k.Changed == 0 {
		t.Errorf("%+v", k)
	}
	for _, test := range []struct {
		uid  uint32
		mode uint32
		want bool
	}{
		{0, unix.S_IFREG | 0o755, true},
		{0, unix.S_IFREG | 0o775, false},
		{0, unix.S_IFREG | 0o757, false},
		{1000, unix.S_IFREG | 0o755, false},
		{0, unix.S_IFIFO | 0o755, false},
	} {
		st.Uid, st.Mode = test.uid, test.mode
		if got := wire.RootOnly(&st); got != test.want {
			t.Errorf("%d %o: %v", test.uid, test.mode, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&wire.Message{Kind: wire.Ask, Thread: 1, ID: 2}).Append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Parse(b)
		if err != nil {
			return
		}
		if again, err := wire.Parse(m.Append(nil)); err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
