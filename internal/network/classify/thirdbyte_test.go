package classify_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// byteTest counts the UDP flows whose first datagram a test of its third byte alone would take for classic Skype's.
type byteTest struct {
	*classify.Classifier
	hits int
}

func (b *byteTest) Learned(f *flow.Flow, facts []decode.Fact) {
	for i := range facts {
		if facts[i].Decoder == "skype-candidate" && facts[i].Get("function") != "" {
			b.hits++
		}
	}
	b.Classifier.Learned(f, facts)
}

// TestAByteNeverNamesSkype: over all captures without Skype the test of one byte has many hits, and not one of those flows is called Skype.
func TestAByteNeverNamesSkype(t *testing.T) {
	folder := corpus(t)
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.*cap*"))
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for _, name := range names {
		if base := strings.ToLower(filepath.Base(name)); strings.Contains(base, "skype") || strings.Contains(base, "teams") {
			continue
		}
		b := &byteTest{Classifier: classify.New(cat, classify.Options{Report: func(f *classify.Finding) {
			for _, e := range f.Evidence {
				if strings.HasPrefix(e.Fact, "traffic:skype-") && e.Fact != "traffic:skype-user-agent" {
					t.Errorf("%s: %s → %s by %s", name, f.Flow.Client, f.Flow.Server, e.Fact)
				}
			}
		}})}
		if err := readFile(t, name, b); err != nil {
			t.Logf("%s: %v", name, err) // some are damaged: what was read of them counts
		}
		hits += b.hits
	}
	if hits < 50 {
		t.Errorf("one byte hits %d flows: the test says nothing", hits)
	}
	t.Logf("one byte would have called %d flows Skype", hits)
}
