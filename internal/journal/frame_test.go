package journal_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/journal/journaltest"
)

func frame(n int) *journal.Frame {
	f := &journal.Frame{Head: journal.Head{Version: journal.Version, Stream: journal.Local, Sequence: 7, Prev: journal.Hash([]byte("before")),
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Count: n}}
	headers := make([][]byte, n)
	for i := range n {
		f.Records = append(f.Records, journaltest.Record(i))
		headers[i] = f.Records[i].Header
	}
	f.Head.Root = journal.Root(headers)
	return f
}

func encode(t testing.TB, f *journal.Frame) []byte {
	t.Helper()
	b, err := journal.EncodeFrame(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(b []byte) (journal.Frame, int64, error) {
	return journal.ReadFrame(bufio.NewReader(bytes.NewReader(b)))
}

// TestFrameGolden fixes the bytes: segments that exist must stay readable.
func TestFrameGolden(t *testing.T) {
	f := frame(2)
	f.Records[1].Sealed = nil
	b := encode(t, f)
	const digest = "ec4eff867c673afbff8857ee06a40d9a55e077fd2ec27df2212d7876d86b9f9b"
	if got := journal.Hash(f.HeadRaw); got != digest {
		t.Errorf("the head is %s, whose digest is %s", f.HeadRaw, got)
	}
	if !bytes.HasPrefix(b, []byte("CJF1")) || binary.BigEndian.Uint32(b[4:]) != uint32(len(f.HeadRaw)) || !bytes.Equal(b[16:16+len(f.HeadRaw)], f.HeadRaw) {
		t.Fatalf("not the layout: %q", b)
	}
	want := "\x1c" + string(f.Records[0].Header) + "\x1c" + string(f.Records[1].Header) + "\x0d" + string(f.Records[0].Sealed) + "\x00"
	if got := string(b[16+len(f.HeadRaw) : len(b)-4]); got != want {
		t.Errorf("sections %q, want %q", got, want)
	}
	if sum := crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli)); sum != binary.BigEndian.Uint32(b[len(b)-4:]) {
		t.Error("the checksum is not CRC-32C of what comes before it")
	}
}

func TestFrameRoundTrip(t *testing.T) {
	for _, n := range []int{1, 2, 3, 100} {
		f := frame(n)
		f.Records[n-1].Sealed = nil
		b := encode(t, f)
		got, size, err := read(append(b, b...))
		if err != nil || size != int64(len(b)) {
			t.Fatalf("%d records: %d of %d bytes, %v", n, size, len(b), err)
		}
		if again := encode(t, &got); !bytes.Equal(again, b) {
			t.Errorf("%d records: other bytes after reading", n)
		}
		if skipped, err := journal.SkipFrame(bufio.NewReader(bytes.NewReader(b))); err != nil || skipped != size {
			t.Errorf("%d records: skipped %d, %v", n, skipped, err)
		}
	}
}

func TestFrameDamage(t *testing.T) {
	b := encode(t, frame(3))
	for i := range b {
		if _, _, err := read(b[:i]); i == 0 && !errors.Is(err, io.EOF) || i > 0 && !errors.Is(err, journal.ErrTorn) {
			t.Errorf("cut at %d: %v", i, err)
		}
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if _, _, err := read(changed); !errors.Is(err, journal.ErrCorrupt) && !errors.Is(err, journal.ErrTorn) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// sum puts the right checksum on a frame that a hostile hand wrote.
func sum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func forge(head []byte, headers, sealed []byte) []byte {
	b := []byte("CJF1")
	for _, part := range [][]byte{head, headers, sealed} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
	}
	return sum(append(append(append(b, head...), headers...), sealed...))
}

// TestHostileFrames has the right checksum on everything: each must be refused, and none may cost memory that is not there.
func TestHostileFrames(t *testing.T) {
	good := frame(1)
	encode(t, good)
	one := append([]byte{byte(len(good.Records[0].Header))}, good.Records[0].Header...)
	if _, _, err := read(forge(good.HeadRaw, one, []byte{0})); err != nil {
		t.Fatalf("the frame that the others are made of: %v", err)
	}
	long := append([]byte{byte(len(good.Records[0].Header)) | 0x80, 0}, good.Records[0].Header...)
	huge := binary.BigEndian.AppendUint32([]byte("CJF1"), 100)
	huge = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(huge, 1<<32-1), 1<<32-1)
	for name, b := range map[string][]byte{
		"no records":          forge(good.HeadRaw, nil, nil),
		"one content more":    forge(good.HeadRaw, one, []byte{0, 0}),
		"one header more":     forge(good.HeadRaw, append(bytes.Clone(one), one...), []byte{0}),
		"other header":        forge(good.HeadRaw, append([]byte{2}, "{}"...), []byte{0}),
		"long form of length": forge(good.HeadRaw, long, []byte{0}),
		"length too large":    forge(good.HeadRaw, one, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}),
		"endless length":      forge(good.HeadRaw, one, bytes.Repeat([]byte{0xff}, 20)),
		"head not JSON":       forge([]byte("head"), one, []byte{0}),
		"head not canonical":  forge(append([]byte(" "), good.HeadRaw...), one, []byte{0}),
		"head unknown field":  forge(append([]byte(`{"a":1,`), good.HeadRaw[1:]...), one, []byte{0}),
		"other version":       forge(bytes.Replace(good.HeadRaw, []byte(`"v":1`), []byte(`"v":2`), 1), one, []byte{0}),
		"count of many":       forge(bytes.Replace(good.HeadRaw, []byte(`"count":1`), []byte(`"count":9000000`), 1), one, []byte{0}),
		"negative count":      forge(bytes.Replace(good.HeadRaw, []byte(`"count":1`), []byte(`"count":-1`), 1), one, []byte{0}),
		"lengths beyond all":  huge,
	} {
		if _, _, err := read(b); !errors.Is(err, journal.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	lying := binary.BigEndian.AppendUint32([]byte("CJF1"), 100)
	lying = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(lying, 100), 60<<20)
	allocated := testing.AllocsPerRun(10, func() {
		if _, _, err := read(lying); !errors.Is(err, journal.ErrTorn) {
			t.Error(err)
		}
	})
	if allocated > 20 {
		t.Errorf("a length that lies cost %v allocations", allocated)
	}
}

func TestEncodeRefusesWhatReadersWould(t *testing.T) {
	f := frame(1)
	f.Head.Stream = string(make([]byte, journal.MaxHead))
	if _, err := journal.EncodeFrame(nil, f); err == nil {
		t.Error("a head beyond the limit")
	}
	f = frame(5)
	for i := range f.Records {
		f.Records[i].Sealed = make([]byte, journal.MaxSealed)
	}
	if _, err := journal.EncodeFrame(nil, f); err == nil {
		t.Error("a frame beyond the limit")
	}
}

// TestMerkle checks root and path against the RFC's own construction and an independent implementation of its hashes.
func TestMerkle(t *testing.T) {
	hasher := rfc6962.DefaultHasher
	for n := range 40 {
		leaves := make([][]byte, n)
		for i := range leaves {
			leaves[i] = fmt.Appendf(nil, "leaf %d", i)
		}
		root := journal.Root(leaves)
		if n == 0 {
			if root != hex.EncodeToString(hasher.EmptyRoot()) {
				t.Error("the empty tree")
			}
			continue
		}
		for i := range leaves {
			if got := climb(hasher.HashLeaf(leaves[i]), i, n, journal.Path(leaves, i)); got != root {
				t.Errorf("leaf %d of %d does not lead to the root", i, n)
			}
		}
	}
}

// climb is the verification of RFC 9162, section 2.1.3.2.
func climb(hash []byte, index, size int, path [][32]byte) string {
	fn, sn := index, size-1
	for _, p := range path {
		if fn&1 == 1 || fn == sn {
			hash = rfc6962.DefaultHasher.HashChildren(p[:], hash)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			hash = rfc6962.DefaultHasher.HashChildren(hash, p[:])
		}
		fn, sn = fn>>1, sn>>1
	}
	return hex.EncodeToString(hash)
}

// FuzzReadFrame: no bytes make it panic or allocate beyond them, and what it takes is the one form of what it says.
func FuzzReadFrame(f *testing.F) {
	good := frame(2)
	b := encode(f, good)
	f.Add(b[:len(b)-4])
	f.Add(forge(good.HeadRaw, []byte{1, '{'}, []byte{0}))
	f.Add([]byte("CJF1\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01abc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sum(bytes.Clone(b))} {
			got, size, err := read(b)
			if skipped, e := journal.SkipFrame(bufio.NewReader(bytes.NewReader(b))); err == nil && (e != nil || skipped != size) {
				t.Fatalf("read %d, skipped %d, %v", size, skipped, e)
			}
			if err != nil {
				continue
			}
			if again := encode(t, &got); !bytes.Equal(again, b[:size]) {
				t.Fatalf("%q became %q", b[:size], again)
			}
		}
	})
}

func BenchmarkReadFrame(b *testing.B) {
	raw := encode(b, frame(64))
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, _, err := read(raw); err != nil {
			b.Fatal(err)
		}
	}
}
