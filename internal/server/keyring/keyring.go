// Package keyring knows the files of the keys folder: it reads the compliance keys of a configuration, and says which secrets are missing
// beside records that were made with them.
package keyring

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// Names of files in the keys folder.
const (
	CompliancePublic  = "compliance.pub"
	CompliancePrivate = "compliance.key"
	RecoveryFile      = "recovery.json"
)

// maxKeyFile bounds a key file, in bytes.
const maxKeyFile = 1 << 20

// ErrNoKeys says that a data directory was not set up.
var ErrNoKeys = errors.New("there is no compliance key")

// Keys reads the compliance keys of a configuration. Private is nil when the configuration unlocks nothing: such a process seals and cannot
// read.
func Keys(c *config.Config) (public []*seal.PublicKey, private *seal.PrivateKey, err error) {
	for _, p := range publicPaths(c) {
		raw, err := outside.ReadFile(p, maxKeyFile)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil, noPublicKey(c, p)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("compliance key: %w", err)
		}
		k, err := seal.ParsePublic(string(raw))
		if err != nil {
			return nil, nil, fmt.Errorf("compliance key: %s: %w", p, err)
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
	path := filepath.Join(c.KeysDir(), CompliancePrivate)
	raw, err := outside.ReadFile(path, maxKeyFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("compliance key: %w; restore it from the backup of the keys, or make it from recovery shares: chaperone keys recover", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("compliance key: %w", err)
	}
	if private, err = seal.UnlockKey(raw, passphrase); err != nil {
		return nil, nil, fmt.Errorf("compliance key: %s: %w", path, err)
	}
	return public, private, nil
}

// publicPaths are the files of the public keys.
func publicPaths(c *config.Config) []string {
	if len(c.Keys.Compliance) == 0 {
		return []string{filepath.Join(c.KeysDir(), CompliancePublic)}
	}
	var out []string
	for _, p := range c.Keys.Compliance {
		out = append(out, c.Path(p))
	}
	return out
}

// RestorePublic writes the public key in the place of the first that is missing. It returns where, "" when none is.
func RestorePublic(c *config.Config, key *seal.PublicKey) (string, error) {
	for _, p := range publicPaths(c) {
		if _, err := os.Lstat(p); errors.Is(err, os.ErrNotExist) {
			return p, durable.Create(p, []byte(key.String()+"\n"), 0o600)
		}
	}
	return "", nil
}

// ErrPublicLost says, beside ErrNoKeys, that a data directory was set up and has lost its public key.
var ErrPublicLost = errors.New("there are records: restore it from the backup of the keys, or from recovery shares: chaperone keys recover")

// noPublicKey says what to do when there is no public key: records that are there are sealed to the one that is lost.
func noPublicKey(c *config.Config, path string) error {
	if _, err := os.Stat(filepath.Join(c.Data(), "journal")); err != nil {
		return fmt.Errorf("%w at %s; chaperone quickstart makes one", ErrNoKeys, path)
	}
	return fmt.Errorf("%w at %s; %w", ErrNoKeys, path, ErrPublicLost)
}

// LedgerKeyLost refuses to begin with a new key while there is a log that another one signed: verify would call the store broken.
func LedgerKeyLost(dir, keys string) error {
	path := filepath.Join(keys, "ledger.key")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "ledger", "checkpoint")); err != nil {
		return nil
	}
	return fmt.Errorf("%s is missing, and the ledger is signed by it: restore it from the backup of the keys", path)
}
