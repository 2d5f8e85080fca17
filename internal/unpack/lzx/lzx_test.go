package lzx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// content is bytes of every kind: noise, runs, and what came before, near and far.
func content(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, size+300)
	for len(b) < size {
		n := 1 + r.IntN(290)
		switch r.IntN(4) {
		case 0:
			for range n / 8 {
				b = append(b, byte(r.Uint32()))
			}
		case 1:
			b = append(b, bytes.Repeat([]byte{byte(n)}, n)...)
		default:
			offset := []int{2, 7, 100, 1000, 32000, 500_000}[r.IntN(6)]
			for range n {
				if offset <= len(b) {
					b = append(b, b[len(b)-offset])
				}
			}
		}
	}
	return b[:size]
}

// blocks packs b into frames, in blocks of the given kind and sizes that have nothing to do with frames.
func blocks(window int, calls int32, b []byte, kind func(i int) int, size func(i int) int) [][]byte {
	e := newEncoder(window, calls)
	var frames [][]byte
	left, room := 0, FrameSize
	odd := false
	var now int
	for i := 0; len(b) > 0; {
		if left == 0 {
			if odd {
				e.words = append(e.words, 0)
			}
			left = min(size(i), len(b))
			now = kind(i)
			odd = now == stored && left%2 == 1
			e.head(now, left)
			i++
		}
		n := min(left, room, len(b))
		e.body(now, b[:n])
		b, left, room = b[n:], left-n, room-n
		if room == 0 || len(b) == 0 {
			if left == 0 && odd {
				e.words, odd = append(e.words, 0), false
			}
			frames, room = append(frames, e.frame()), FrameSize
		}
	}
	return frames
}

func unpack(t testing.TB, window int, frames [][]byte, size int) []byte {
	t.Helper()
	d, err := New(window)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i, f := range frames {
		b, err := d.Frame(f, min(FrameSize, size-len(out)))
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		out = append(out, b...)
	}
	return out
}

func mixed(i int) int            { return []int{verbatim, aligned, stored}[i%3] }
func uneven(i int) int           { return []int{1, 20_001, 77_777, 3}[i%4] }
func large(int) int              { return 1 << 20 }
func always(k int) func(int) int { return func(int) int { return k } }

func TestFrames(t *testing.T) {
	want := content(700_000)
	for _, c := range []struct {
		name   string
		window int
		kind   func(int) int
		size   func(int) int
	}{
		{"verbatim", 15, always(verbatim), large}, {"aligned", 17, always(aligned), large}, {"stored", 16, always(stored), uneven},
		{"mixed", 18, mixed, uneven}, {"wide", 21, mixed, large}, {"small blocks", 20, mixed, always(999)},
	} {
		got := unpack(t, c.window, blocks(c.window, 0, want, c.kind, c.size), len(want))
		if !bytes.Equal(got, want) {
			t.Errorf("%s: it is not what was packed", c.name)
		}
	}
}

// cabinet is one with a single file in LZX.
func cabinet(window int, frames [][]byte, size int) []byte {
	const header, folder, file = 36, 8, 16
	name := "a.bin\x00"
	data := header + folder + file + len(name)
	b := append([]byte("MSCF"), make([]byte, 32)...)
	binary.LittleEndian.PutUint32(b[16:], header+folder)
	copy(b[24:], []byte{3, 1, 1, 0, 1, 0})
	b = binary.LittleEndian.AppendUint32(b, uint32(data))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(frames)))
	b = binary.LittleEndian.AppendUint16(b, uint16(window<<8|3))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = append(append(b, make([]byte, 12)...), name...)
	for i, f := range frames {
		b = append(b, 0, 0, 0, 0)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(f)))
		b = binary.LittleEndian.AppendUint16(b, uint16(min(FrameSize, size-i*FrameSize)))
		b = append(b, f...)
	}
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	return b
}

// TestOtherReader has another program unpack what the test packs, and compares: also the addresses of calls, which the test does not change.
func TestOtherReader(t *testing.T) {
	tool, err := exec.LookPath("7z")
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("7z is not installed")
	}
	want := content(300_000)
	for i := range 3000 {
		at := i*97 + 5
		want[at] = callCode
		binary.LittleEndian.PutUint32(want[at+1:], uint32(i*i*7-3_000_000))
	}
	for name, kind := range map[string]func(int) int{"verbatim": always(verbatim), "aligned": always(aligned), "mixed": mixed} {
		frames := blocks(18, 1_000_000, want, kind, func(int) int { return 70_000 })
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.cab"), cabinet(18, frames, len(want)), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(tool, "x", "-y", "a.cab")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		theirs, err := os.ReadFile(filepath.Join(dir, "a.bin"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(theirs, want) {
			t.Errorf("%s: no call was changed", name)
		}
		if !bytes.Equal(unpack(t, 18, frames, len(want)), theirs) {
			t.Errorf("%s: we unpack it otherwise", name)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, bits := range []int{-1, 14, 22} {
		if _, err := New(bits); !errors.Is(err, ErrWindow) {
			t.Errorf("window %d: %v", bits, err)
		}
	}
	good := blocks(15, 0, content(5000), mixed, uneven)[0]
	far := newEncoder(15, 0)
	far.head(verbatim, 10)
	far.putMatch(verbatim, 10, 5000) // before the begin
	long := newEncoder(15, 0)
	long.head(verbatim, 5)
	long.body(verbatim, []byte("a"))
	long.putMatch(verbatim, 200, 1) // out of the block
	unknown := newEncoder(15, 0)
	unknown.head(5, 10)
	for name, c := range map[string]struct {
		packed []byte
		size   int
		want   error
	}{
		"nothing": {nil, 10, errCut}, "cut": {good[:len(good)/2], 5000, nil}, "too much": {good, FrameSize + 1, errTooLong}, "negative": {good, -1, errTooLong},
		"more than there is": {good, 6000, nil}, "far": {far.frame(), 10, errData}, "long": {long.frame(), 5, errData}, "kind": {unknown.frame(), 10, errData},
		"zeros": {make([]byte, 1000), 100, errCut}, "ones": {bytes.Repeat([]byte{0xff}, 1000), 100, errData},
	} {
		d, err := New(15)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Frame(c.packed, c.size)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		if _, again := d.Frame(good, 5000); again == nil {
			t.Errorf("%s: it goes on after an error", name)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, kind := range []int{verbatim, aligned, stored} {
		f.Add(15, blocks(15, 5000, content(3000), always(kind), uneven)[0], 3000)
	}
	f.Fuzz(func(t *testing.T, window int, packed []byte, size int) {
		d, err := New(window)
		if err != nil {
			return
		}
		for range 2 {
			if b, err := d.Frame(packed, size); err == nil && len(b) != size {
				t.Errorf("%d bytes of %d", len(b), size)
			}
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	want := content(700_000)
	frames := blocks(18, 0, want, always(verbatim), large)
	b.SetBytes(int64(len(want)))
	for b.Loop() {
		unpack(b, 18, frames, len(want))
	}
}
