package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// Names of files in the keys folder.
const (
	CompliancePublic  = "compliance.pub"
	CompliancePrivate = "compliance.key"
	RecoveryFile      = "recovery.json"
)

// Keys reads the compliance keys of a configuration. Private is nil when the configuration unlocks nothing: such a process seals and cannot
// read.
func Keys(c *config.Config) (public []*seal.PublicKey, private *seal.PrivateKey, err error) {
	paths := c.Keys.Compliance
	if len(paths) == 0 {
		paths = []string{filepath.Join(c.KeysDir(), CompliancePublic)}
	}
	for _, p := range paths {
		raw, err := os.ReadFile(c.Path(p))
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil, fmt.Errorf("%w at %s; chaperone quickstart makes one", ErrNoKeys, c.Path(p))
		}
		if err != nil {
			return nil, nil, err
		}
		k, err := seal.ParsePublic(string(raw))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p, err)
		}
		public = append(public, k)
	}
	if c.Keys.Unlock == "" {
		return public, nil, nil
	}
	passphrase, err := seal.Passphrase(c.Keys.Unlock, c.Dir)
	if err != nil {
		return nil, nil, err
	}
	raw, err := os.ReadFile(filepath.Join(c.KeysDir(), CompliancePrivate))
	if err != nil {
		return nil, nil, err
	}
	private, err = seal.UnlockKey(raw, passphrase)
	return public, private, err
}
