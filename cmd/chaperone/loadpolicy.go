package main

import (
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// loadPolicy compiles the policy in the file, or the quickstart policy when there is none.
func loadPolicy(file string, cat *catalog.Catalog) (*policy.Policy, error) {
	set, err := rules.Load(file, cat)
	if err != nil {
		return nil, withHint(err)
	}
	return set.Policy, nil
}

// withHint adds the hint of a mistake in a policy.
func withHint(err error) error {
	if hint := rules.Hint(err); hint != "" {
		return hinted{err, hint}
	}
	return err
}
