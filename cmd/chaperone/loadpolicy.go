package main

import (
	"fmt"
	"os"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// loadPolicy compiles the policy in the file, or the quickstart policy when there is none.
func loadPolicy(file string, cat *catalog.Catalog) (*policy.Policy, error) {
	source, err := policy.Default()
	if file != "" {
		var data []byte
		if data, err = os.ReadFile(file); err != nil {
			return nil, hinted{fmt.Errorf("read policy: %w", err), "chaperone quickstart writes a policy to begin with"}
		}
		source, err = policy.Parse(file, data)
	}
	if err != nil {
		return nil, err
	}
	known := policy.Known{CatalogVersion: cat.Version(), Hits: shippedHits()}
	for _, app := range cat.Apps() {
		known.Apps = append(known.Apps, app.ID)
	}
	return policy.Compile(source, known)
}

// shippedHits are the names of hits that the shipped packs and inspectors define.
func shippedHits() []string {
	return []string{
		"payment-card", "iban", "us-ssn", "change-of-venue", "private-key", "access-key", "disguised-file", "executable-file",
	}
}
