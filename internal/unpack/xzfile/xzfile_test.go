package xzfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/chaperone-im/chaperone/internal/unpack/xzfile"
)

const roomy = 128 << 20

// packed has the real tool pack a body; without it the test is skipped, but in CI it fails.
func packed(t testing.TB, body []byte, args ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath("xz")
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("xz is not installed")
	}
	cmd := exec.Command(tool, append([]string{"-c", "-T1"}, args...)...)
	cmd.Stdin = bytes.NewReader(body)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// own packs without any tool.
func own(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err == nil {
		_, err = w.Write(body)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(b []byte, limit int64) ([]byte, error) {
	x, err := xzfile.NewReader(bytes.NewReader(b), limit)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(x)
}

func words(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of %x\n", i, i*i*2654435761)
	}
	return b.Bytes()[:n]
}

// TestRealFiles reads what the tool writes: every sum, many blocks with and without their sizes, streams one after another with padding between.
func TestRealFiles(t *testing.T) {
	body := words(120_000)
	for _, args := range [][]string{{"--check=none"}, {"--check=crc32"}, {"--check=crc64"}, {"--check=sha256"}, {"-9"}, {"-0"}, {"--block-size=50000"}, {"-T2", "--block-size=50000"}, {"--lzma2=dict=4KiB"}} {
		if got, err := read(packed(t, body, args...), roomy); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%v: %d bytes, %v", args, len(got), err)
		}
	}
	for name, c := range map[string]struct{ data, want []byte }{
		"nothing":          {packed(t, nil), nil},
		"noise":            {own(t, words(1)), words(1)},
		"two":              {slices.Concat(own(t, body), own(t, []byte("more"))), slices.Concat(body, []byte("more"))},
		"padding":          {slices.Concat(own(t, body), make([]byte, 8), packed(t, []byte("more"), "--check=none"), make([]byte, 4)), slices.Concat(body, []byte("more"))},
		"nothing and more": {slices.Concat(packed(t, nil), own(t, body)), body},
	} {
		if got, err := read(c.data, roomy); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestDictionary refuses a block that wants more than is given, before anything of that size is made: also when it is not the first block.
func TestDictionary(t *testing.T) {
	body := words(5000)
	if _, err := read(packed(t, body, "--lzma2=dict=1MiB"), 1<<20); err != nil {
		t.Error(err)
	}
	if _, err := read(packed(t, body, "--lzma2=dict=1536KiB"), 1<<20); !errors.Is(err, xzfile.ErrDictionary) {
		t.Errorf("%v", err)
	}
	for property, want := range map[byte]error{40: xzfile.ErrDictionary, 39: xzfile.ErrDictionary, 41: xzfile.ErrFormat, 255: xzfile.ErrFormat} {
		huge := own(t, body)
		h := huge[12:]
		h = h[:(int(h[0])+1)*4]
		at := bytes.Index(h, []byte{0x21, 1})
		if at < 0 {
			t.Fatalf("% x", h)
		}
		h[at+2] = property
		binary.LittleEndian.PutUint32(h[len(h)-4:], crc32.ChecksumIEEE(h[:len(h)-4]))
		if _, err := read(huge, roomy); !errors.Is(err, want) {
			t.Errorf("%d: %v", property, err)
		}
		if got, err := read(slices.Concat(own(t, body), huge), roomy); !errors.Is(err, want) || !bytes.Equal(got, body) {
			t.Errorf("%d in the second stream: %d bytes, %v", property, len(got), err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	if _, err := read(packed(t, words(5000), "--x86", "--lzma2"), roomy); !errors.Is(err, xzfile.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// TestEveryBit never reads anything else when a bit is not as it was, nor when a byte is missing. (Some bits of the length of what is packed may
// change: the library does not ask that all of it is used.)
func TestEveryBit(t *testing.T) {
	good := packed(t, words(300), "--check=crc32", "--lzma2=dict=4KiB")
	for i := 0; i < len(good)*8; i += 3 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := read(bad, roomy); err == nil && !bytes.Equal(got, words(300)) {
			t.Errorf("bit %d: %d other bytes", i, len(got))
		}
	}
	for n := range good {
		if _, err := read(good[:n], roomy); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(own(f, []byte("some words")))
	f.Add(slices.Concat(own(f, nil), make([]byte, 4), own(f, words(5000))))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := xzfile.NewReader(bytes.NewReader(b), 1<<20)
		if err != nil {
			return
		}
		got, err := io.ReadAll(io.LimitReader(x, 4<<20))
		if err != nil || len(got) == 4<<20 {
			return
		}
		other, err := xz.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("the library refuses what we read: %v", err)
		}
		if theirs, err := io.ReadAll(other); err == nil && !bytes.Equal(got, theirs) {
			t.Errorf("we read %d bytes, the library %d", len(got), len(theirs))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	body := words(1 << 20)
	data := own(b, body)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := read(data, roomy); err != nil {
			b.Fatal(err)
		}
	}
}
