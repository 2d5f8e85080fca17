package command

import (
	"fmt"
	"os"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control/rules"
)

// ConfigFlag names the configuration of a command that opens no data directory of its own.
type ConfigFlag struct {
	Config string `name:"config" type:"path" placeholder:"FILE" help:"Configuration, whose policy and catalog apply when no policy is named."`
}

// Rules loads what a command decides by.
func (c ConfigFlag) Rules(e *Env, named string, packs ...string) (*rules.Set, error) {
	return (&DataFlags{Config: c.Config}).Rules(e, named, packs...)
}

// Rules loads what a command decides by, with all it refers to: the policy of policyFile, and the catalog in force.
func (d *DataFlags) Rules(e *Env, named string, packs ...string) (*rules.Set, error) {
	file, err := d.PolicyFile(e, named)
	if err != nil {
		return nil, err
	}
	return d.RulesOf(file, packs...)
}

// RulesOf loads one policy file, the embedded quickstart policy when it is "", with the catalog in force.
func (d *DataFlags) RulesOf(file string, packs ...string) (*rules.Set, error) {
	cat, err := d.CatalogInForce()
	if err != nil {
		return nil, fmt.Errorf("load catalog: %w", err)
	}
	set, err := rules.Load(file, cat, packs...)
	return set, notAConfig(RulesHint(err), file)
}

// besideHere is the configuration that quickstart writes; where it lies in the working directory, people expect it to apply.
const besideHere = "chaperone.yaml"

// PolicyFile returns the policy to decide by, in one order for all commands: the one named, else that of the configuration named, else none,
// which is the embedded quickstart policy. Nothing is taken because of where a command was started: that would change verdicts silently, so
// what lies there is said instead.
func (d *DataFlags) PolicyFile(e *Env, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if d.Config != "" {
		c, err := LoadConfig(d.Config)
		if err != nil {
			return "", err
		}
		return c.Path(c.Policy), nil
	}
	if info, err := os.Stat(besideHere); err == nil && info.Mode().IsRegular() {
		fmt.Fprintf(e.ErrOut, "chaperone: note: the embedded quickstart policy applies, not that of ./%s; --config %s takes that one\n", besideHere, besideHere)
	}
	return "", nil
}

// RulesHint adds the hint of a mistake in a policy.
func RulesHint(err error) error {
	if text := rules.Hint(err); text != "" {
		return hint.New(err, text)
	}
	return err
}
