//go:build linux

package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

// quickstartCmd sets a folder up.
type quickstartCmd struct {
	Profile string `name:"profile" default:"plain" enum:"plain,us-broker-dealer,uk-eu,works-council" help:"Retention, purposes, pseudonyms and a draft notice to employees: plain, us-broker-dealer, uk-eu or works-council."`
	Domain  string `name:"domain" default:"example.org" help:"Domain of the organisation."`
	Console string `name:"console" default:"127.0.0.1:8443" help:"Address of the console."`
	Shares  int    `name:"shares" default:"3" help:"Recovery shares of the compliance key."`
	Needed  int    `name:"needed" default:"2" help:"How many of them are needed."`
	Data    string `name:"data" type:"path" placeholder:"DIR" help:"Data directory; by default data below the folder."`
	Dir     string `arg:"" name:"dir" type:"path" default:"." help:"Folder for configuration, policy and data."`
}

// Run writes everything and says what comes next.
func (c *quickstartCmd) Run(e *command.Env) error {
	r, err := quickstart.Write(quickstart.Options{Dir: c.Dir, Data: c.Data, Profile: c.Profile, Domain: c.Domain, Console: c.Console, Shares: c.Shares, Needed: c.Needed})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Out, `Written to %s: chaperone.yaml, policy.yaml (network and programs are watched, messages enforced), people.csv, notice.md (a draft for employees); data is in %s.

Next:
 1. chaperone doctor --config %s
 2. chaperone serve --config %s
 3. Open the console and sign in, each link once and within the hour (later: chaperone account link NAME --config %s):
`, c.Dir, c.data(), r.Config, r.Config, r.Config)
	for _, name := range slices.Sorted(maps.Keys(r.Links)) {
		fmt.Fprintf(e.Out, "      %-9s https://%s/link/%s\n", name, c.Console, r.Links[name])
	}
	fmt.Fprintf(e.Out, ` 4. Give the %d recovery shares in %s to different people, off this machine, and delete the folder.
    Any %d of them with keys/recovery.json of the data give the compliance key back; without them a lost key loses every record.
 5. Name a recipient of checkpoints outside this machine (ledger.checkpoints): without one, nothing can be proven.
 6. Watch what enforcing would stop, then set mode: enforce in policy.yaml.
`, len(r.Shares), filepath.Join(c.Dir, "recovery-shares"), c.Needed)
	return nil
}

func (c *quickstartCmd) data() string {
	if c.Data != "" {
		return c.Data
	}
	return filepath.Join(c.Dir, "data")
}
