package server

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// Check reads everything that a configuration refers to, and starts nothing.
func Check(c *config.Config) error {
	var errs []error
	fail := func(at string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		}
	}
	_, err := LoadRules(c)
	fail("policy", err)
	_, _, err = keyring.Keys(withoutCredential(c))
	fail("keys", err)
	if c.People.CSV != "" {
		_, err := identity.LoadPeople(c.Path(c.People.CSV))
		errs = append(errs, err) // it says that it is about people
	}
	for _, spec := range c.Ledger.Checkpoints {
		_, err := recipientOf(c, spec)
		fail("ledger.checkpoints", err)
	}
	for _, g := range c.Gateways {
		fail("gateways "+g.ID, checkGateway(c, g))
	}
	if c.Console.Listen != "" {
		fail("console", checkPair(c.Path(c.Console.Certificate), c.Path(c.Console.Key)))
		if c.Keys.Unlock == "" {
			fail("console", errors.New("keys.unlock is missing: the console could read nothing"))
		}
	}
	if r := c.Network.Resolver; r != nil {
		_, err := rewrites(r)
		fail("network.resolver", err)
	}
	_, _, err = channels(c)
	fail("alerts", err)
	fail("catalog", checkCatalog(c))
	return errors.Join(errs...)
}

// withoutCredential leaves out the passphrase that systemd hands to the service alone, where this is not the service.
func withoutCredential(c *config.Config) *config.Config {
	if !strings.HasPrefix(c.Keys.Unlock, "credential:") || os.Getenv("CREDENTIALS_DIRECTORY") != "" {
		return c
	}
	closed := *c
	closed.Keys.Unlock = ""
	return &closed
}

// checkCatalog looks at keys and source of bundles.
func checkCatalog(c *config.Config) error {
	var errs []error
	for _, key := range c.Catalog.Keys {
		errs = append(errs, bundle.CheckKey(key))
	}
	errs = append(errs, rollout.CheckSource(c.Catalog.Source))
	if c.Catalog.Source != "" && len(c.Catalog.Keys) == 0 {
		errs = append(errs, errors.New("a source is named and no key: no bundle would be accepted"))
	}
	return errors.Join(errs...)
}

func checkGateway(c *config.Config, g config.Gateway) error {
	x := xmpp.FromConfig(g, c.Path)
	errs := []error{x.Check()}
	for _, l := range x.Listen {
		errs = append(errs, checkPair(l.Certificate, l.Key))
	}
	if x.Uploads != nil {
		errs = append(errs, checkPair(x.Uploads.Certificate, x.Uploads.Key))
	}
	if x.Upstream.CA != "" {
		_, err := outside.Authorities(x.Upstream.CA)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkPair reads a certificate and its key; none of both is fine.
func checkPair(cert, key string) error {
	if cert == "" && key == "" {
		return nil
	}
	_, err := outside.KeyPair(cert, key)
	return err
}

// rewrites returns the fixed answers of a resolver.
func rewrites(c *config.Resolver) (map[string]netip.Addr, error) {
	out := map[string]netip.Addr{}
	for name, text := range c.Rewrite {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("rewrite %s: %w", name, err)
		}
		out[name] = addr
	}
	return out, nil
}
