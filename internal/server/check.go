package server

import (
	"errors"
	"fmt"
	"os"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/ledger"
)

// Check reads everything that a configuration refers to, and starts nothing.
func Check(c *config.Config) error {
	var errs []error
	if _, err := LoadRules(c); err != nil {
		errs = append(errs, fmt.Errorf("policy: %w", err))
	}
	if _, _, err := Keys(c); err != nil {
		errs = append(errs, err)
	}
	if c.People.CSV != "" {
		if _, err := identity.LoadPeople(c.Path(c.People.CSV)); err != nil {
			errs = append(errs, err)
		}
	}
	for _, spec := range c.Ledger.Checkpoints {
		if _, err := ledger.ParseRecipient(spec); err != nil {
			errs = append(errs, err)
		}
	}
	for _, g := range c.Gateways {
		for _, l := range g.Listen {
			errs = append(errs, readable(c.Path(l.Certificate)), readable(c.Path(l.Key)))
		}
		errs = append(errs, readable(c.Path(g.Upstream.CA)))
	}
	return errors.Join(errs...)
}

func readable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
