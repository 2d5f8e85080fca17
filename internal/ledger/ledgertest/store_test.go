package ledgertest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
)

func TestTamperRemovesOneRecord(t *testing.T) {
	dir := t.TempDir()
	key, err := ledger.LoadOrCreateKey(dir+"/keys", "chaperone/test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := ledgertest.Frames(300, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledgertest.Build(dir, key, frames); err != nil {
		t.Fatal(err)
	}
	if err := ledgertest.Tamper(dir, "019b0000-0000-7000-8000-000000000005", key); err != nil {
		t.Fatal(err)
	}
	after, err := ledgertest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range after {
		want := 2
		if i == 2 {
			want = 1
		}
		if f.Head.Count != want || len(f.Records) != want || f.Head.Stream != frames[i].Head.Stream {
			t.Errorf("frame %d: stream %s, %d records", i, f.Head.Stream, len(f.Records))
		}
	}
	if err := ledgertest.Tamper(dir, "nobody", key); !errors.Is(err, ledgertest.ErrNoRecord) {
		t.Errorf("removing an unknown record: %v", err)
	}
}
