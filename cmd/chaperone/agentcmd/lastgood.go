package agentcmd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// lastGood is the folder of the configuration and the policy that an agent worked with last. With them a mistake in either neither opens a
// machine nor keeps its programs from starting.
type lastGood string

const (
	goodConfig = "agent.yaml"
	goodPolicy = "policy.yaml"
	maxConfig  = 1 << 20
)

func lastGoodOf(c *config.Config) lastGood {
	return lastGood(filepath.Join(c.Data(), "agent", "last-good"))
}

// keep keeps the text of one of the two.
func (l lastGood) keep(name string, text []byte) error {
	path := filepath.Join(string(l), name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(string(l), 0o700); err != nil {
		return err
	}
	return durable.Replace(path, text, 0o600)
}

// keepConfig keeps a configuration that could be loaded.
func (l lastGood) keepConfig(path string) error {
	b, err := outside.ReadFile(path, maxConfig)
	if err != nil {
		return err
	}
	if err := l.keep(goodConfig, b); err != nil {
		return fmt.Errorf("a copy of the configuration cannot be kept: %w", err)
	}
	return nil
}

// config is the configuration that was kept, as if it lay where the original does.
func (l lastGood) config(original string) (*config.Config, error) {
	b, err := outside.ReadFile(filepath.Join(string(l), goodConfig), maxConfig)
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(b)
	if err != nil {
		return nil, err
	}
	c.Dir, err = filepath.Abs(filepath.Dir(original))
	return c, err
}

// rules are the policy that was kept with the catalog in force, or with the embedded one when that cannot be told.
func (l lastGood) rules(d *command.DataFlags) (agent.Rules, error) {
	path := filepath.Join(string(l), goodPolicy)
	b, err := outside.ReadFile(path, policy.MaxFileSize)
	if err != nil {
		return agent.Rules{}, err
	}
	f, err := policy.Parse(path, b)
	if err != nil {
		return agent.Rules{}, err
	}
	c, err := d.CatalogInForce()
	if err != nil {
		c = nil
	}
	set, err := rules.Build(f, c)
	if err != nil {
		return agent.Rules{}, err
	}
	return agent.Rules{Policy: set.Policy, Catalog: set.Catalog}, nil
}

// or returns what was loaded, and keeps it; where that failed, what was kept, with the reason. What an agent of a fleet decides by before its
// first policy came, is kept too.
func (l lastGood) or(d *command.DataFlags, set *rules.Set, failed error) (agent.Rules, error) {
	if failed == nil {
		r := agent.Rules{Policy: set.Policy, Catalog: set.Catalog}
		if err := l.keep(goodPolicy, set.Policy.File().Source()); err != nil {
			r.Problem = fmt.Sprintf("a copy of the policy cannot be kept: %v", err)
		}
		return r, nil
	}
	r, err := l.rules(d)
	if err != nil { // there was none: what failed first is what to mend
		return agent.Rules{}, failed
	}
	r.Old, r.Problem = true, fmt.Sprintf("the last good policy is in force, since that of now cannot be loaded: %v", failed)
	return r, nil
}
