package agentcmd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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
	c, err := config.Load(filepath.Join(string(l), goodConfig))
	if err != nil {
		return nil, err
	}
	c.Dir, err = filepath.Abs(filepath.Dir(original))
	return c, err
}

// lastSettings are the last good configuration when that of now cannot be loaded, nil when none is known. A worker is told where it is. The agent
// itself, which a broken file does not tell where its data is, looks below --data and in the unit's StateDirectory=. A file that is not there at
// all is a mistake of who named it.
func (f *flags) lastSettings(failed error) *config.Config {
	if f.Good != "" {
		c, err := lastGood(f.Good).config(f.Config)
		if err != nil {
			return nil
		}
		return c
	}
	if errors.Is(failed, fs.ErrNotExist) || errors.Is(failed, fs.ErrPermission) {
		return nil
	}
	for _, dir := range append([]string{f.Data}, filepath.SplitList(os.Getenv("STATE_DIRECTORY"))...) {
		if dir == "" {
			continue
		}
		l := lastGood(filepath.Join(dir, "agent", "last-good"))
		if c, err := l.config(f.Config); err == nil && same(string(l), string(lastGoodOf(c))) { // of this agent, and of no other
			return c
		}
	}
	return nil
}

func same(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
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
