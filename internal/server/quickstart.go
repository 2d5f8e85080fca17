package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// QuickstartOptions say what quickstart writes.
type QuickstartOptions struct {
	Dir     string
	Profile string
	Domain  string
	Console string // address
	Shares  int
	Needed  int
}

// QuickstartResult is what quickstart made.
type QuickstartResult struct {
	Config string
	Links  map[string]string // one-time sign-in tokens by account
	Shares []string          // files of recovery shares
}

// Quickstart writes a commented configuration and policy, keys with recovery shares, and the first accounts: an administrator and a
// reviewer. It refuses a folder that holds a configuration already.
func Quickstart(o QuickstartOptions) (*QuickstartResult, error) {
	r := &QuickstartResult{Config: filepath.Join(o.Dir, "chaperone.yaml"), Links: map[string]string{}}
	if _, err := os.Stat(r.Config); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s exists already; quickstart never writes over a configuration", r.Config)
	}
	rules, err := policy.Quickstart(o.Profile, o.Domain)
	if err != nil {
		return nil, err
	}
	keys := filepath.Join(o.Dir, "data", "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return nil, err
	}
	if r.Shares, err = makeKeys(o, keys); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"policy.yaml": string(rules),
		"people.csv":  "person,name,handle,host,address,from,to,groups\n# alice,Alice Example,alice@" + o.Domain + ",laptop-17,10.0.0.17,,,sales\n",
	} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o640); err != nil {
			return nil, err
		}
	}
	if err := firstAccounts(o.Dir, r); err != nil {
		return nil, err
	}
	// The configuration is written last: with it, everything is there.
	return r, os.WriteFile(r.Config, []byte(configText(o)), 0o640)
}

func firstAccounts(dir string, r *QuickstartResult) error {
	book, err := account.Open(filepath.Join(dir, "data"), clock.System{})
	if err != nil {
		return err
	}
	for name, role := range map[string]control.Role{"admin": control.Administrator, "reviewer": control.Reviewer, "counsel": control.Counsel} {
		if err := book.Create(name, []control.Role{role}); err != nil {
			return err
		}
		if r.Links[name], err = book.NewLink(name); err != nil {
			return err
		}
	}
	return nil
}

// makeKeys makes the compliance key, its passphrase and its recovery shares.
func makeKeys(o QuickstartOptions, dir string) ([]string, error) {
	key, err := seal.GenerateCompliance()
	if err != nil {
		return nil, err
	}
	var secret [24]byte
	rand.Read(secret[:])
	passphrase := base64.RawURLEncoding.EncodeToString(secret[:])
	locked, err := key.Lock(passphrase)
	if err != nil {
		return nil, err
	}
	recovery, shares, err := key.Split(o.Shares, o.Needed)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		filepath.Join(dir, CompliancePublic):  []byte(key.Public().String() + "\n"),
		filepath.Join(dir, CompliancePrivate): locked,
		filepath.Join(dir, RecoveryFile):      recovery,
		filepath.Join(dir, "passphrase"):      []byte(passphrase + "\n"),
	}
	folder := filepath.Join(o.Dir, "recovery-shares")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	var names []string
	for i, line := range shares {
		name := filepath.Join(folder, fmt.Sprintf("share-%d.txt", i+1))
		names = append(names, name)
		files[name] = []byte(line + "\n")
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return nil, err
		}
	}
	back, err := seal.Recover(recovery, shares[:o.Needed])
	if err != nil || back.Public().ID() != key.Public().ID() {
		return nil, errors.Join(errors.New("the recovery shares do not give the key back"), err)
	}
	return names, nil
}

func configText(o QuickstartOptions) string {
	return strings.NewReplacer("{{DOMAIN}}", o.Domain, "{{CONSOLE}}", o.Console).Replace(`# chaperone.yaml. Every part is optional: what is not configured does not run.
# Reference: chaperone config describe. Check: chaperone config test --config chaperone.yaml
data_dir: ./data
policy: policy.yaml
people: {csv: people.csv}

# Records are sealed to the compliance key. With unlock, this process reads too: console, search and holds.
# Better than a file beside the data: a systemd credential ("credential:chaperone"). SECURITY.md says what each costs.
keys: {unlock: "file:data/keys/passphrase"}

# Where checkpoints leave this machine. Until one recipient outside has acknowledged, nothing can be proven against an administrator,
# and health says so. A folder counts as outside only when another machine owns it.
ledger:
  checkpoints: []
  # checkpoints: ["file:/mnt/drop", "https://checkpoints.example.net/in", "syslog:udp://192.0.2.20:514"]

console: {listen: "{{CONSOLE}}"}
metrics: {listen: "127.0.0.1:9464"}

# In front of your XMPP server; docs/guide/xmpp.md says how.
# gateways:
#   - id: office
#     kind: xmpp
#     domain: {{DOMAIN}}
#     listen:
#       - {address: "0.0.0.0:5222", tls: starttls, certificate: cert.pem, key: key.pem}
#       - {address: "0.0.0.0:5223", tls: direct, certificate: cert.pem, key: key.pem}
#     upstream: {address: "127.0.0.1:15222", tls: starttls, ca: ca.pem}
#     uploads: {listen: "0.0.0.0:5443", upstream: "http://127.0.0.1:5280"}
#     on_failure: closed

# The filtering resolver (docs/guide/resolver.md) and sensors on a mirror port (docs/guide/inspect.md).
# network:
#   resolver: {listen: ["10.0.0.1:53"], upstream: ["192.0.2.53:53"], rebind_protection: true}
#   sensors: [{interface: mirror0}]

# inspectors: {malware: {clamd: "unix:/run/clamav/clamd.ctl"}}
# alerts: {webhooks: ["https://alerts.example.net/in"], syslog: ["udp:192.0.2.20:514"]}
`)
}
