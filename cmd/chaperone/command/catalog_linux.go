package command

import (
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// CatalogInForce returns the catalog that is in force in the data directory that the flags name; without one the built-in catalog.
func (d *DataFlags) CatalogInForce() (*catalog.Catalog, error) {
	if d.Data == "" && d.Config == "" {
		return catalog.Default()
	}
	cfg, err := d.Load()
	if err != nil {
		return nil, err
	}
	depot := rollout.OpenDepot(cfg.Data(), cfg.Catalog.Keys)
	s, err := depot.Current()
	if err != nil {
		return nil, err
	}
	c, _, err := depot.Load(s.InForce)
	return c, err
}
