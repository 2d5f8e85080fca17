// Package quickstart sets a folder up: a commented configuration and policy, keys with recovery shares, and the first accounts.
//
// Everything is made in folders of its own beside its place, synced, and then moved there piece by piece, the configuration last. A run that
// was cut short before all was made leaves nothing that counts, and the next begins anew; one that was cut short while it moved is finished
// by the next.
package quickstart

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

// Options say what is written.
type Options struct {
	Dir     string
	Data    string // data directory; by default data below Dir
	Profile string
	Domain  string
	Console string // address
	Shares  int
	Needed  int
}

// Result is what was made.
type Result struct {
	Config  string
	Links   map[string]string // one-time sign-in tokens by account
	Shares  []string          // files of recovery shares
	Resumed bool              // an earlier run had made it, and was cut short
}

// ErrSetUp says that a folder holds what would be written.
var ErrSetUp = errors.New("exists already, and quickstart never writes over anything")

// Write sets a folder up: an administrator, a reviewer and counsel have accounts. It never writes over anything: a key that is written over
// takes every record sealed to it along.
func Write(o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	rules, err := policy.Quickstart(o.Profile, o.Domain)
	if err != nil {
		return nil, err
	}
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := &Result{Config: filepath.Join(o.Dir, "chaperone.yaml"), Links: map[string]string{}}
	if r.Resumed, err = s.complete(); err != nil {
		return nil, err
	}
	if !r.Resumed {
		if err := s.free(); err != nil {
			return nil, errors.Join(err, s.remove())
		}
		if err := s.make(rules); err != nil {
			return nil, errors.Join(err, s.remove())
		}
	}
	for i := range o.Shares {
		r.Shares = append(r.Shares, filepath.Join(o.Dir, "recovery-shares", shareName(i)))
	}
	return r, s.place(func() error { return links(o.data(), r) })
}

func (o Options) data() string {
	if o.Data != "" {
		return o.Data
	}
	return filepath.Join(o.Dir, "data")
}

// domainName is what may stand in policy and configuration without quotes: letters, digits, dots and hyphens (RFC 1123, section 2.1).
var domainName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`)

func (o Options) check() error {
	if len(o.Domain) > 253 || !domainName.MatchString(o.Domain) {
		return fmt.Errorf("domain %q is not a domain name", o.Domain)
	}
	host, port, err := net.SplitHostPort(o.Console)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	if _, bad := netip.ParseAddr(host); bad != nil && host != "" && !domainName.MatchString(host) {
		return fmt.Errorf("console: %q is no host", host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("console: port %q: want a number up to 65535", port)
	}
	if o.Needed < 2 || o.Needed > o.Shares {
		return fmt.Errorf("%d of %d recovery shares: at least two must be needed, and no more than there are", o.Needed, o.Shares)
	}
	return nil
}

// roles are the first accounts.
func roles() map[string]control.Role {
	return map[string]control.Role{"admin": control.Administrator, "reviewer": control.Reviewer, "counsel": control.Counsel}
}

func makeAccounts(data string) error {
	book, err := account.Open(data, clock.System{})
	if err != nil {
		return err
	}
	for name, role := range roles() {
		if err := book.Create(name, []control.Role{role}); err != nil {
			return err
		}
	}
	return nil
}

func links(data string, r *Result) error {
	book, err := account.Open(data, clock.System{})
	if err != nil {
		return err
	}
	for name := range roles() {
		if r.Links[name], err = book.NewLink(name); err != nil {
			return err
		}
	}
	return nil
}

func shareName(i int) string { return fmt.Sprintf("share-%d.txt", i+1) }

// makeKeys makes the compliance key and its passphrase in dir, and its recovery shares in folder.
func makeKeys(o Options, dir, folder string) error {
	key, err := seal.GenerateCompliance()
	if err != nil {
		return err
	}
	var secret [24]byte
	rand.Read(secret[:])
	passphrase := base64.RawURLEncoding.EncodeToString(secret[:])
	locked, err := key.Lock(passphrase)
	if err != nil {
		return err
	}
	recovery, shares, err := key.Split(o.Shares, o.Needed)
	if err != nil {
		return err
	}
	back, err := seal.Recover(recovery, shares[:o.Needed])
	if err != nil || back.Public().ID() != key.Public().ID() {
		return errors.Join(errors.New("the recovery shares do not give the key back"), err)
	}
	files := map[string][]byte{
		filepath.Join(dir, keyring.CompliancePublic):  []byte(key.Public().String() + "\n"),
		filepath.Join(dir, keyring.CompliancePrivate): locked,
		filepath.Join(dir, keyring.RecoveryFile):      recovery,
		filepath.Join(dir, "passphrase"):              []byte(passphrase + "\n"),
	}
	for i, line := range shares {
		files[filepath.Join(folder, shareName(i))] = []byte(line + "\n")
	}
	for name, text := range files {
		if err := durable.Create(name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
