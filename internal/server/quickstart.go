package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// QuickstartOptions say what quickstart writes.
type QuickstartOptions struct {
	Dir     string
	Data    string // data directory; by default data below Dir
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

// Quickstart writes a commented configuration and policy, keys with recovery shares, and the first accounts: an administrator, a reviewer
// and counsel. It never writes over anything: a key that is written over takes every record sealed to it along.
func Quickstart(o QuickstartOptions) (*QuickstartResult, error) {
	r := &QuickstartResult{Config: filepath.Join(o.Dir, "chaperone.yaml"), Links: map[string]string{}}
	if err := o.check(); err != nil {
		return nil, err
	}
	data := o.Data
	if data == "" {
		data = filepath.Join(o.Dir, "data")
	}
	if o.Data != "" && hasEntries(o.Data) {
		return nil, fmt.Errorf("%s is not empty; quickstart never makes keys beside other data", o.Data)
	}
	keys := filepath.Join(data, "keys")
	for _, path := range []string{r.Config, filepath.Join(o.Dir, "policy.yaml"), filepath.Join(o.Dir, "people.csv"), filepath.Join(o.Dir, "notice.md"), keys, filepath.Join(o.Dir, "recovery-shares")} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s%s", ErrSetUp, path, unfinished(r.Config, data))
		}
	}
	rules, err := policy.Quickstart(o.Profile, o.Domain)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return nil, err
	}
	if r.Shares, err = makeKeys(o, keys); err != nil {
		return nil, err
	}
	people := "person,name,handle,host,address,from,to,groups\n# alice,Alice Example,alice@" + o.Domain + ",laptop-17,10.0.0.17,,,sales\n"
	if err := durable.Create(filepath.Join(o.Dir, "policy.yaml"), rules, 0o640); err != nil {
		return nil, err
	}
	if err := durable.Create(filepath.Join(o.Dir, "people.csv"), []byte(people), 0o640); err != nil {
		return nil, err
	}
	parsed, err := policy.Parse("policy.yaml", rules)
	if err != nil {
		return nil, err
	}
	if err := durable.Create(filepath.Join(o.Dir, "notice.md"), []byte(noticeText(o, parsed)), 0o640); err != nil {
		return nil, err
	}
	if err := firstAccounts(data, r); err != nil {
		return nil, err
	}
	// The configuration is written last: with it, everything is there.
	return r, durable.Create(r.Config, []byte(configText(o)), 0o640)
}

// ErrSetUp says that a folder holds what quickstart would write.
var ErrSetUp = errors.New("exists already, and quickstart never writes over anything")

// unfinished says what to delete when an earlier quickstart was cut short: it writes the configuration last, and nothing was recorded yet.
func unfinished(config, data string) string {
	for _, path := range []string{config, filepath.Join(data, "journal")} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return ""
		}
	}
	return fmt.Sprintf("; there is no %s and no journal, so an earlier quickstart did not end: if nothing else is kept there, delete %s, and recovery-shares, policy.yaml, people.csv and notice.md beside the configuration, and run it again",
		filepath.Base(config), filepath.Join(data, "keys"))
}

// domainName is what may stand in policy and configuration without quotes: letters, digits, dots and hyphens (RFC 1123, section 2.1).
var domainName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`)

func (o QuickstartOptions) check() error {
	if len(o.Domain) > 253 || !domainName.MatchString(o.Domain) {
		return fmt.Errorf("domain %q is not a domain name", o.Domain)
	}
	host, port, err := net.SplitHostPort(o.Console)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	if _, bad := netip.ParseAddr(host); bad != nil && host != "" && !domainName.MatchString(host) {
		return fmt.Errorf("console: %q is no host", host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("console: port %q: want a number up to 65535", port)
	}
	if o.Needed < 2 || o.Needed > o.Shares {
		return fmt.Errorf("%d of %d recovery shares: at least two must be needed, and no more than there are", o.Needed, o.Shares)
	}
	return nil
}

func hasEntries(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

func firstAccounts(data string, r *QuickstartResult) error {
	book, err := account.Open(data, clock.System{})
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
	back, err := seal.Recover(recovery, shares[:o.Needed])
	if err != nil || back.Public().ID() != key.Public().ID() {
		return nil, errors.Join(errors.New("the recovery shares do not give the key back"), err)
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
		if err := durable.Create(name, text, 0o600); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func configText(o QuickstartOptions) string {
	data, unlock := "./data", "data"
	if o.Data != "" {
		data, unlock = o.Data, o.Data
	}
	return strings.NewReplacer("{{DOMAIN}}", o.Domain, "{{CONSOLE}}", o.Console, "{{DATA}}", data, "{{UNLOCK}}", unlock, "{{PURPOSES}}", purposesLine(o.Profile), "{{PSEUDONYMS}}", pseudonymsText(o.Profile)).Replace(`# chaperone.yaml. Every part is optional: what is not configured does not run.
# Reference: chaperone config describe. Check: chaperone config test --config chaperone.yaml
data_dir: "{{DATA}}"
policy: policy.yaml
people: {csv: people.csv}

# Records are sealed to the compliance key. With unlock, this process reads too: console, search and holds.
# Better than a file beside the data: a systemd credential ("credential:chaperone"). SECURITY.md says what each costs.
keys: {unlock: "file:{{UNLOCK}}/keys/passphrase"}

# Where checkpoints leave this machine. Until one recipient outside has acknowledged, nothing can be proven against an administrator,
# and health says so. A folder counts as outside only when another machine owns it.
ledger:
  checkpoints: []
  # checkpoints: ["file:/mnt/drop", "https://checkpoints.example.net/in", "syslog:udp://192.0.2.20:514"]

console: {listen: "{{CONSOLE}}"{{PURPOSES}}}
{{PSEUDONYMS}}metrics: {listen: "127.0.0.1:9464"}

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
