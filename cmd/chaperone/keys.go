//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

// keysCmd is about the compliance key: what everything on record is sealed to.
type keysCmd struct {
	Drill   keysDrillCmd   `cmd:"" help:"Prove that recovery shares give the compliance key back; writes no key, and the drill is put on record."`
	Recover keysRecoverCmd `cmd:"" help:"Get the compliance key back from recovery shares, and lock it under a new passphrase."`
}

// sharesFlags say what to recover from.
type sharesFlags struct {
	Recovery string   `name:"recovery" type:"existingfile" placeholder:"FILE" help:"The recovery file; by default recovery.json in the keys folder."`
	Shares   []string `arg:"" name:"share-file" type:"existingfile" help:"Recovery shares, a file each; as many as are needed."`
}

// errOtherKey says that shares are good, and of another installation or of a key before this one.
var errOtherKey = errors.New("not the one that records are sealed to")

// recovered gives the key back, and compares it with the public one. Shares and key stay in this process.
func (s *sharesFlags) recovered(cfg *config.Config) (*seal.PrivateKey, error) {
	path := s.Recovery
	if path == "" {
		path = filepath.Join(cfg.KeysDir(), keyring.RecoveryFile)
	}
	file, err := outside.ReadFile(path, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("recovery file: %w", err)
	}
	var shares []string
	for _, name := range s.Shares {
		raw, err := command.ReadSmall(name)
		if err != nil {
			return nil, err
		}
		shares = append(shares, strings.TrimSpace(string(raw)))
	}
	key, err := seal.Recover(file, shares)
	if err != nil {
		return nil, err
	}
	closed := *cfg
	closed.Keys.Unlock = "" // the passphrase may be what was lost: only the public key is compared
	public, _, err := keyring.Keys(&closed)
	if errors.Is(err, keyring.ErrNoKeys) { // what records are sealed to is not known from there: their roots say it
		opens, known, err := seal.SealedFor(cfg.KeysDir(), key.Public())
		if known && !opens {
			err = fmt.Errorf("the shares give the key %s, %w", key.Public().ID(), errOtherKey)
		}
		return key, err
	}
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(public, func(k *seal.PublicKey) bool { return k.ID() == key.Public().ID() }) {
		return nil, fmt.Errorf("the shares give the key %s, %w", key.Public().ID(), errOtherKey)
	}
	return key, nil
}

// minPassphrase is the least length of a passphrase that locks the compliance key, in bytes: that of a password of an account.
const minPassphrase = 12

type keysDrillCmd struct {
	command.DataFlags
	sharesFlags
}

// Run tries the shares, says yes or no, and puts the answer on record. No is exit status 1.
func (c *keysDrillCmd) Run(e *command.Env) error {
	cfg, err := c.Load()
	if err != nil {
		return err
	}
	key, failed := c.recovered(cfg)
	drill := server.DrillArgs{Action: server.ActDrill, Shares: len(c.Shares), Works: failed == nil}
	if failed == nil {
		drill.Key = key.Public().ID()
		fmt.Fprintf(e.Out, "yes: %d shares give the compliance key %s back\n", len(c.Shares), drill.Key)
	} else {
		fmt.Fprintf(e.Out, "no: %s the compliance key back: %v\n", giveNot(len(c.Shares)), failed)
	}
	if err := command.Operate(e, &c.DataFlags, "keys.drill", drill, nil, io.Discard); err != nil {
		return hint.New(fmt.Errorf("the drill is not on record: %w", err), "run it where the data directory is set up, as its administrator")
	}
	if failed != nil {
		return command.ErrFindings
	}
	return nil
}

func giveNot(shares int) string {
	if shares == 1 {
		return "1 share does not give"
	}
	return fmt.Sprintf("%d shares do not give", shares)
}

type keysRecoverCmd struct {
	command.DataFlags
	sharesFlags
	Passphrase string `name:"new-passphrase" required:"" type:"existingfile" placeholder:"FILE" help:"File with the passphrase that locks the key that is written."`
	Out        string `name:"out" type:"path" placeholder:"FILE" help:"Where to write the key; by default compliance.key in the keys folder."`
	Force      bool   `name:"force" help:"Write over a key that is there."`
}

// Run recovers the key and writes it. A key that is not the one that records are sealed to is never written.
func (c *keysRecoverCmd) Run(e *command.Env) error {
	cfg, err := c.Load()
	if err != nil {
		return err
	}
	path := c.Out
	if path == "" {
		path = filepath.Join(cfg.KeysDir(), keyring.CompliancePrivate)
	}
	if command.FileExists(path) && !c.Force {
		return hint.New(fmt.Errorf("%s exists already", path), "--out FILE, or --force to write over it")
	}
	key, err := c.recovered(cfg)
	if err != nil {
		return hint.New(err, "each file holds one share as it was given out; the recovery file is the one made with them")
	}
	raw, err := command.ReadSmall(c.Passphrase)
	if err != nil {
		return err
	}
	passphrase := strings.TrimRight(string(raw), "\r\n")
	if len(passphrase) < minPassphrase {
		return hint.New(fmt.Errorf("the new passphrase has %d bytes, at least %d are needed", len(passphrase), minPassphrase), "openssl rand -base64 24 makes a good one")
	}
	locked, err := key.Lock(passphrase)
	if err != nil {
		return err
	}
	if err := replaceKey(path, locked, c.Force); err != nil {
		return err
	}
	public, err := keyring.RestorePublic(cfg, key.Public())
	if err != nil {
		return fmt.Errorf("the key is written, its public half is not: %w", err)
	}
	if public != "" {
		fmt.Fprintf(e.Out, "its public half, which was missing, is written to %s\n", public)
	}
	fmt.Fprintf(e.Out, "the compliance key %s is written to %s; let keys.unlock name its new passphrase\n", key.Public().ID(), path)
	act := server.DrillArgs{Action: server.ActRecover, Shares: len(c.Shares), Works: true, Key: key.Public().ID()}
	if err := command.Operate(e, &c.DataFlags, "keys.drill", act, nil, io.Discard); err != nil {
		fmt.Fprintf(e.ErrOut, "chaperone: the recovery is not on record: %v; once keys.unlock is right, run chaperone keys drill\n", err)
	}
	return nil
}

// replaceKey writes a key durably: the whole file or nothing, and over another one only when told to.
func replaceKey(path string, locked []byte, over bool) error {
	if over {
		return durable.Replace(path, locked, 0o600)
	}
	return durable.Place(path, locked, 0o600)
}
