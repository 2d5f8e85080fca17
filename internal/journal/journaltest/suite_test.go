package journaltest_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/journal/journaltest"
)

func TestNumberIsThatOfRecord(t *testing.T) {
	for _, n := range []int{0, 7, 999_999, 20_000_001} {
		if got := journaltest.Number(journaltest.Record(n)); got != n {
			t.Errorf("%d came back as %d", n, got)
		}
	}
	if got := journaltest.Number(journal.Record{Header: []byte("{}")}); got != -1 {
		t.Errorf("another header is number %d", got)
	}
}
