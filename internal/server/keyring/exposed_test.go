package keyring_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

func TestExposures(t *testing.T) {
	h := newHouse(t)
	keys := h.path("data/keys")
	if what, do := keyring.ExposedWords(t.Context(), keys); what != "" || do != "" {
		t.Fatalf("fresh keys: %s; %s", what, do)
	}
	h.write("data/keys/console.crt", "for all")
	for _, name := range []string{"console.crt", "compliance.key"} {
		if err := os.Chmod(h.path("data/keys/"+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if what, do := keyring.ExposedWords(t.Context(), keys); !strings.HasPrefix(what, h.path("data/keys/compliance.key")+" can be read by others") || do != "chmod 0600 "+h.path("data/keys/compliance.key") {
		t.Errorf("one key: %s; %s", what, do)
	}
	if err := os.Chmod(keys, 0o777); err != nil {
		t.Fatal(err)
	}
	all, err := keyring.Exposures(t.Context(), keys)
	if err != nil || len(all) != 2 || all[0] != (keyring.Exposed{Path: keys, Mode: "0700"}) {
		t.Errorf("folder and key: %v (%v)", all, err)
	}
	if what, do := keyring.ExposedWords(t.Context(), keys); !strings.Contains(what, "and 1 others") || !strings.HasPrefix(do, "chmod -R go= ") {
		t.Errorf("folder and key: %s; %s", what, do)
	}
	if what, _ := keyring.ExposedWords(t.Context(), keys+"/none"); what != "" {
		t.Errorf("no folder: %s", what)
	}
}
