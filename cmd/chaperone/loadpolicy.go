package main

import (
	"fmt"
	"os"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/rules"
)

// configFlag names the configuration of a command that opens no data directory of its own.
type configFlag struct {
	Config string `name:"config" type:"path" placeholder:"FILE" help:"Configuration, whose policy and catalog apply when no policy is named."`
}

// rules loads what a command decides by.
func (c configFlag) rules(e *env, named string, packs ...string) (*rules.Set, error) {
	return (&dataFlags{Config: c.Config}).rules(e, named, packs...)
}

// rules loads what a command decides by, with all it refers to: the policy of policyFile, and the catalog in force.
func (d *dataFlags) rules(e *env, named string, packs ...string) (*rules.Set, error) {
	file, err := d.policyFile(e, named)
	if err != nil {
		return nil, err
	}
	return d.rulesOf(file, packs...)
}

// rulesOf loads one policy file, the embedded quickstart policy when it is "", with the catalog in force.
func (d *dataFlags) rulesOf(file string, packs ...string) (*rules.Set, error) {
	cat, err := d.catalogInForce()
	if err != nil {
		return nil, fmt.Errorf("load catalog: %w", err)
	}
	set, err := rules.Load(file, cat, packs...)
	return set, withHint(err)
}

// besideHere is the configuration that quickstart writes; where it lies in the working directory, people expect it to apply.
const besideHere = "chaperone.yaml"

// policyFile returns the policy to decide by, in one order for all commands: the one named, else that of the configuration named, else none,
// which is the embedded quickstart policy. Nothing is taken because of where a command was started: that would change verdicts silently, so
// what lies there is said instead.
func (d *dataFlags) policyFile(e *env, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if d.Config != "" {
		c, err := config.Load(d.Config)
		if err != nil {
			return "", err
		}
		return c.Path(c.Policy), nil
	}
	if info, err := os.Stat(besideHere); err == nil && info.Mode().IsRegular() {
		fmt.Fprintf(e.errOut, "chaperone: note: the embedded quickstart policy applies, not that of ./%s; --config %s takes that one\n", besideHere, besideHere)
	}
	return "", nil
}

// withHint adds the hint of a mistake in a policy.
func withHint(err error) error {
	if text := rules.Hint(err); text != "" {
		return hint.New(err, text)
	}
	return err
}
