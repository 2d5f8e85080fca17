package nsisbzip_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/chaperone-im/chaperone/internal/unpack/nsisbzip"
)

// packed makes a stream of one block: that of a .bz2 file, its bits moved to where they are in an installer.
func packed(t testing.TB, body []byte) []byte {
	t.Helper()
	tool, err := exec.LookPath("bzip2")
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("bzip2 is not installed")
	}
	cmd := exec.Command(tool, "-9", "-c")
	cmd.Stdin = bytes.NewReader(body)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	// The file: "BZh9", the mark of a block (6 bytes), its checksum (4 bytes), one bit, and then what an installer has behind '1'.
	bits := out[14:]
	moved := []byte{'1'}
	for i := range len(bits) - 1 {
		moved = append(moved, bits[i]<<1|bits[i+1]>>7)
	}
	return moved // what follows the block is no end mark
}

func TestRead(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 200_000)
	for i := range random {
		random[i] = byte(r.Uint32() >> (i % 9))
	}
	for name, body := range map[string][]byte{
		"words": []byte("some words and some words"), "one": {7}, "run": bytes.Repeat([]byte{9}, 700), "runs": bytes.Repeat([]byte("aaaabbbbbbbbc"), 20_000),
		"random": random, "long run": make([]byte, 800_000), "four": []byte("aaaa"), "five": []byte("aaaaab"),
	} {
		got := make([]byte, len(body))
		if _, err := io.ReadFull(nsisbzip.NewReader(bytes.NewReader(packed(t, body))), got); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestEnds(t *testing.T) {
	if b, err := io.ReadAll(nsisbzip.NewReader(bytes.NewReader([]byte{0x17}))); err != nil || len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
	whole := packed(t, []byte("some words and some words"))
	for n := range len(whole) - 12 {
		if b, err := io.ReadAll(nsisbzip.NewReader(bytes.NewReader(whole[:n]))); err == nil || len(b) > 0 {
			t.Errorf("cut at %d: %q, %v", n, b, err)
		}
	}
	if _, err := io.ReadAll(nsisbzip.NewReader(bytes.NewReader([]byte("BZh9")))); !errors.Is(err, nsisbzip.ErrFormat) {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(packed(f, []byte("some words and some words")))
	f.Add(packed(f, make([]byte, 5000)))
	f.Add([]byte{'1'})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = io.Copy(io.Discard, io.LimitReader(nsisbzip.NewReader(bytes.NewReader(b)), 8<<20)) // any error is right
	})
}

func BenchmarkRead(b *testing.B) {
	body := bytes.Repeat([]byte("some words and other words, 1234567890. "), 5000)
	data := packed(b, body)
	b.SetBytes(int64(len(body)))
	got := make([]byte, len(body))
	for b.Loop() {
		if _, err := io.ReadFull(nsisbzip.NewReader(bytes.NewReader(data)), got); err != nil {
			b.Fatal(err)
		}
	}
}
