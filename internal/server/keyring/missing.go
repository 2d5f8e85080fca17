package keyring

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/config"
)

// Secret is a file that records were made with.
type Secret struct {
	Path  string
	Means string // what it means that it is missing
	Do    string
}

const (
	fromKeys = "restore it from the backup of the keys before serve or any other command runs, which would make another one"
	fromCopy = "restore it from the backup of the keys"
)

// secrets are those of a configuration. Which of them a process that only seals never made is known by what it unlocks.
func secrets(c *config.Config) []Secret {
	keys := func(name string) string { return filepath.Join(c.KeysDir(), name) }
	out := []Secret{
		{keys("ledger.key"), "serve does not start: no checkpoint can be signed", fromCopy},
		{keys("ledger.pub"), "nobody can verify the ledger without knowing its key from elsewhere", fromCopy + ", or start serve, which makes it again from ledger.key"},
		{keys("roll.key"), "the roots of day rolls so far cannot be checked any more", fromKeys},
	}
	if c.Keys.Unlock == "" {
		return out
	}
	return append(out,
		Secret{keys(CompliancePrivate), "nothing on record can be read", fromCopy + ", or from recovery shares: chaperone keys recover"},
		Secret{keys("pseudonyms.key"), "people get other pseudonyms than before", fromKeys},
		Secret{filepath.Join(c.Data(), "state", "projections.key"), "the search index cannot be opened", "restore it from the backup of the data directory, or run chaperone rebuild"})
}

// Missing returns the secrets that are not there. It is for a data directory with records.
func Missing(c *config.Config) []Secret {
	var out []Secret
	for _, s := range secrets(c) {
		if _, err := os.Stat(s.Path); errors.Is(err, os.ErrNotExist) {
			out = append(out, s)
		}
	}
	return out
}
