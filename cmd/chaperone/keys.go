package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/server"
)

// keysCmd is about the compliance key: what everything on record is sealed to.
type keysCmd struct {
	Recover keysRecoverCmd `cmd:"" help:"Get the compliance key back from recovery shares; without --out it only tries, which is the drill."`
}

type keysRecoverCmd struct {
	dataFlags
	Recovery   string   `name:"recovery" type:"existingfile" placeholder:"FILE" help:"The recovery file; by default recovery.json in the keys folder."`
	Share      []string `name:"share" required:"" type:"existingfile" sep:"none" placeholder:"FILE" help:"A recovery share; give as many as are needed."`
	Passphrase string   `name:"new-passphrase" type:"existingfile" placeholder:"FILE" help:"File with the passphrase that locks the key that is written."`
	Out        string   `name:"out" type:"path" placeholder:"FILE" help:"Where to write the key; it must not exist."`
}

// Run recovers the key, compares it with the public one, and writes it when told to.
func (c *keysRecoverCmd) Run(e *env) error {
	if (c.Out == "") != (c.Passphrase == "") {
		return hinted{errors.New("--out and --new-passphrase go together"), "without both it tries the shares and writes nothing"}
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	path := c.Recovery
	if path == "" {
		path = filepath.Join(cfg.KeysDir(), server.RecoveryFile)
	}
	key, err := c.recover(path)
	if err != nil {
		return hinted{err, "each file holds one share as it was given out; the recovery file is the one made with them"}
	}
	cfg.Keys.Unlock = "" // the passphrase may be what was lost: only the public key is compared
	public, _, err := server.Keys(cfg)
	if err != nil && !errors.Is(err, server.ErrNoKeys) {
		return err
	}
	if err == nil && !containsKey(public, key.Public()) {
		return fmt.Errorf("the shares give the key %s, which is not the one that records are sealed to", key.Public().ID())
	}
	fmt.Fprintf(e.out, "the shares give the compliance key %s back\n", key.Public().ID())
	if c.Out == "" {
		return nil
	}
	return c.write(e, key)
}

func (c *keysRecoverCmd) recover(path string) (*seal.PrivateKey, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var shares []string
	for _, name := range c.Share {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		shares = append(shares, strings.TrimSpace(string(raw)))
	}
	return seal.Recover(file, shares)
}

func containsKey(keys []*seal.PublicKey, k *seal.PublicKey) bool {
	for _, other := range keys {
		if other.ID() == k.ID() {
			return true
		}
	}
	return false
}

func (c *keysRecoverCmd) write(e *env, key *seal.PrivateKey) error {
	raw, err := os.ReadFile(c.Passphrase)
	if err != nil {
		return err
	}
	locked, err := key.Lock(strings.TrimRight(string(raw), "\r\n"))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(locked)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "written to %s; put it in the keys folder as %s, and let keys.unlock name its passphrase\n", c.Out, server.CompliancePrivate)
	return err
}
