package reveal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/token"
)

// TestDigest is the same for one processor and for two, whatever the size, and finds what reaches from one block into the next.
func TestDigest(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	texts := []string{"a token at the front", "one between two blocks", "another at the end"}
	set := token.New(texts)
	for _, size := range []int{0, 1, blockSize, blockSize + 1, large - 1, large, large + 12345} {
		data := bytes.Repeat([]byte{'x'}, size)
		want := []int(nil)
		for i, at := range []int{0, blockSize - 5, size - len(texts[2])} {
			if at >= 0 && size > 2*blockSize {
				copy(data[at:], texts[i])
				want = append(want, i)
			}
		}
		sum := sha256.Sum256(data)
		for _, processors := range []int{1, 2} {
			runtime.GOMAXPROCS(processors)
			got, found := digest(data, set)
			slices.Sort(found)
			if got != hex.EncodeToString(sum[:]) || !slices.Equal(found, want) {
				t.Errorf("%d bytes, %d processors: %s, %v", size, processors, got, found)
			}
		}
		if got, found := digest(data, nil); got != hex.EncodeToString(sum[:]) || found != nil {
			t.Errorf("%d bytes, no tokens: %s, %v", size, got, found)
		}
	}
}

// TestDigestOfWhatGoesAway raises the fault of a file that is cut off while it is read in the goroutine that answers for it.
func TestDigestOfWhatGoesAway(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 2*large), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, release, err := mapped(f, 2*large)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	}()
	if err := f.Truncate(0); err != nil {
		t.Skip(err) // this system does not cut off what is mapped
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for what, do := range map[string]func(){
		"both":          func() { digest(data, token.New([]string{"a token"})) },
		"the other one": func() { together(func() { bytes.Count(data, []byte("x")) }, func() {}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no fault", what)
				}
			}()
			do()
		}()
	}
}
