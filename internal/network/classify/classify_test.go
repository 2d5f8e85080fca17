package classify_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
)

func TestBuiltInCatalogFits(t *testing.T) {
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	if classify.New(cat, classify.Options{}) == nil {
		t.Fatal("no classifier")
	}
}
