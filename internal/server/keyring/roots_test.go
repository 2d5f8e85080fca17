package keyring_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

// frames is a journal of one stream.
type frames []journal.Frame

func (f frames) Streams() (map[string]uint64, error) {
	return map[string]uint64{journal.Local: uint64(len(f))}, nil
}

func (f frames) Wait(ctx context.Context, _ string, _ uint64) error { <-ctx.Done(); return ctx.Err() }

func (f frames) Frames(ctx context.Context, _ string, _ uint64) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		for _, one := range f {
			if ctx.Err() != nil || !yield(one, ctx.Err()) {
				return
			}
		}
	}
}

// TestLostRoots seals for seven rooms, takes six of their roots away, and is told which records that costs.
func TestLostRoots(t *testing.T) {
	dir := t.TempDir()
	key, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.NewSealer(dir, []*seal.PublicKey{key.Public()}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	all := frames{{Records: []journal.Record{{Sealed: nil}, {Sealed: []byte("noise")}}}}
	var first string
	for room := range 7 {
		f := journal.Frame{}
		for n := range 7 - room {
			sealed, err := sealer.Seal(seal.Scope(fmt.Sprint(room)), []byte("words"), []byte{byte(n)})
			if err != nil {
				t.Fatal(err)
			}
			f.Records = append(f.Records, journal.Record{Sealed: sealed})
			if first == "" {
				first, _ = seal.RootOf(sealed)
			}
		}
		all = append(all, f)
	}
	if lost, err := keyring.LostRoots(t.Context(), all, dir); err != nil || len(lost) != 0 {
		t.Errorf("nothing is lost: %v (%v)", lost, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "roots", "*.json"))
	if err != nil || len(files) != 7 {
		t.Fatalf("%d roots (%v)", len(files), err)
	}
	kept := 0
	for _, f := range files {
		if strings.Contains(f, first) || kept == 1 {
			err = os.Remove(f)
		} else {
			kept, err = 1, os.Truncate(f, 0) // a torn file is no root either
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lost, err := keyring.LostRoots(t.Context(), all, dir)
	if err != nil || len(lost) != 7 || lost.Records() != 28 {
		t.Fatalf("lost %v (%v)", lost, err)
	}
	if d := lost.Detail(); !strings.Contains(d, "28 records") || !strings.Contains(d, "damaged: "+first+" (7), ") || !strings.HasSuffix(d, " and 2 more") {
		t.Errorf("it says %s", d)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := keyring.LostRoots(stopped, all, dir); err == nil {
		t.Error("a look that was cut short says that all is well")
	}
	if err := seal.CheckRoot(dir, "../../x"); err == nil {
		t.Error("a path is an id")
	}
}
