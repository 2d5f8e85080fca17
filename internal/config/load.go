package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/shape"
)

// Days that observations are kept.
const (
	ObservationDays    = 14
	MaxObservationDays = 31
)

// Kept returns the days in force.
func (o Observations) Kept() int {
	if o.Days == nil {
		return ObservationDays
	}
	return *o.Days
}

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// ErrEmpty says that a file sets nothing. Somebody wrote it to set something: it was cut, by a full disk for one, and the defaults are not what
// it said.
var ErrEmpty = errors.New("is empty: it sets nothing (to go by the defaults name no configuration)")

// silent reports whether a text that Parse takes sets nothing, as one of comments does.
func silent(b []byte) bool {
	var keys map[string]any
	return yaml.Unmarshal(b, &keys) != nil || len(keys) == 0
}

// Load reads and checks the file at path, which must set something.
func Load(path string) (*Config, error) {
	b, err := outside.ReadFile(path, maxFile)
	if errors.Is(err, outside.ErrTooLarge) {
		return nil, fmt.Errorf("configuration: %s is larger than %d bytes", path, maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := Parse(b)
	if err == nil && silent(b) {
		err = ErrEmpty
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.Dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse reads and checks the text of a configuration. Dir is left empty.
func Parse(b []byte) (*Config, error) {
	// A parser that quotes what it does not understand would send this to the terminal.
	if !utf8.Valid(b) || bytes.ContainsFunc(b, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }) {
		return nil, errors.New("not a text file: a configuration is YAML in UTF-8, without control characters")
	}
	if err := shape.Check(b, nil); err != nil {
		return nil, err
	}
	c := &Config{}
	dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField())
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s", strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if err := dec.Decode(&Config{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document behind ---: one file holds one configuration")
	}
	c.defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) defaults() {
	if c.DataDir == "" {
		c.DataDir = "./data"
	}
	if c.Agent.Mode == "" {
		c.Agent.Mode = "deny-list"
	}
	if c.Agent.Socket == "" {
		c.Agent.Socket = "/run/chaperone/agent.sock"
	}
	if c.Agent.Removable == "" {
		c.Agent.Removable = "deny"
	}
	for i := range c.Gateways {
		g := &c.Gateways[i]
		if g.OnFailure == "" {
			g.OnFailure = "closed"
		}
		for j := range g.Listen {
			if g.Listen[j].TLS == "" {
				g.Listen[j].TLS = "starttls"
			}
		}
		if g.Upstream.TLS == "" {
			g.Upstream.TLS = "starttls"
		}
	}
}

func (c *Config) check() error {
	var errs []error
	seen := map[string]bool{}
	for i, g := range c.Gateways {
		errs = append(errs, checkGateway(fmt.Sprintf("gateways[%d]", i), g))
		if seen[g.ID] {
			errs = append(errs, fmt.Errorf("gateways[%d]: id %q is used twice", i, g.ID))
		}
		seen[g.ID] = true
	}
	for _, l := range []struct{ key, address string }{{"console.listen", c.Console.Listen}, {"metrics.listen", c.Metrics.Listen}, {"fleet.listen", c.Fleet.Listen}, {"santa.listen", c.Santa.Listen}} {
		if err := checkAddress(l.address); l.address != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.key, err))
		}
	}
	if r := c.Network.Resolver; r != nil {
		errs = append(errs, checkResolver(r))
	}
	for i, l := range c.Network.Logs {
		if l.Path == "" || !slices.Contains([]string{"zeek", "suricata", "squid", "dnsmasq"}, l.Format) {
			errs = append(errs, fmt.Errorf("network.logs[%d]: want a path, and the format zeek, suricata, squid or dnsmasq", i))
		}
	}
	errs = append(errs, checkLogs("endpoint.logs", c.Endpoint.Logs), checkLogs("agent.logs", c.Agent.Logs))
	if d := c.Observations.Days; d != nil && (*d < 0 || *d > MaxObservationDays) {
		errs = append(errs, fmt.Errorf("observations.days: %d is not between 0 and %d: what must be kept longer is a rule of the policy that makes records", *d, MaxObservationDays))
	}
	errs = append(errs, checkAgent(c.Agent))
	errs = append(errs, checkSanta(c.Santa))
	if c.Keys.Unlock != "" && !reference(c.Keys.Unlock) {
		errs = append(errs, fmt.Errorf("keys.unlock: want file:PATH, env:NAME or credential:NAME, never the passphrase itself"))
	}
	if m := c.Alerts.Mail; m != nil && m.Password != "" && !reference(m.Password) {
		errs = append(errs, fmt.Errorf("alerts.mail.password: want file:PATH or env:NAME, never the password itself"))
	}
	return errors.Join(errs...)
}

func checkSanta(s Santa) error {
	if s.Listen != "" && s.ClientCA == "" && s.Tokens == "" {
		return errors.New("santa: machines need client_ca or tokens to be let in by")
	}
	return nil
}

func checkLogs(key string, logs []EnforcerLog) error {
	var errs []error
	for i, l := range logs {
		if l.Path == "" || !slices.Contains([]string{"fapolicyd", "santa", "windows"}, l.Format) {
			errs = append(errs, fmt.Errorf("%s[%d]: want a path, and the format fapolicyd, santa or windows", key, i))
		}
	}
	return errors.Join(errs...)
}

func checkAgent(a Agent) error {
	var errs []error
	if !slices.Contains([]string{"monitor", "deny-list", "learn", "lockdown"}, a.Mode) {
		errs = append(errs, fmt.Errorf("agent.mode: %q is none of monitor, deny-list, learn and lockdown", a.Mode))
	}
	if a.Removable != "deny" && a.Removable != "policy" {
		errs = append(errs, fmt.Errorf("agent.removable: %q is neither deny nor policy", a.Removable))
	}
	for _, part := range a.Harden {
		if !slices.Contains([]string{"memfd", "namespaces", "media", "programs"}, part) {
			errs = append(errs, fmt.Errorf("agent.harden: %q is none of memfd, namespaces, media and programs", part))
		}
	}
	if a.Update.Key != "" {
		if _, err := note.NewVerifier(strings.TrimSpace(a.Update.Key)); err != nil {
			errs = append(errs, errors.New("agent.update.key: want the verifier of a key, as chaperone fleet release key prints it"))
		}
	}
	if a.Secret != "" && !reference(a.Secret) {
		errs = append(errs, errors.New("agent.secret: want file:PATH, env:NAME or credential:NAME, never the secret itself"))
	}
	return errors.Join(errs...)
}

func checkGateway(at string, g Gateway) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(at+": "+format, args...)) }
	if g.ID == "" {
		fail("id is missing")
	}
	if g.Kind != "xmpp" {
		fail("kind %q is not known; want xmpp", g.Kind)
	}
	if g.Domain == "" {
		fail("domain is missing")
	}
	if len(g.Listen) == 0 {
		fail("listen is empty: clients could not connect")
	}
	if g.OnFailure != "closed" && g.OnFailure != "open" {
		fail("on_failure %q is not known; want closed or open", g.OnFailure)
	}
	for _, l := range g.Listen {
		errs = append(errs, checkTLS(at+".listen", l.Address, l.TLS))
		if l.TLS != "off" && (l.Certificate == "" || l.Key == "") {
			fail("listen %s: certificate and key are missing", l.Address)
		}
	}
	errs = append(errs, checkTLS(at+".upstream", g.Upstream.Address, g.Upstream.TLS))
	return errors.Join(errs...)
}

func checkTLS(at, address, mode string) error {
	if err := checkAddress(address); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	switch mode {
	case "starttls", "direct":
		return nil
	case "off":
		host, _, _ := net.SplitHostPort(address)
		if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
			return nil
		}
		return fmt.Errorf("%s: tls off is allowed only on a loopback address, not %s", at, address)
	}
	return fmt.Errorf("%s: tls %q is not known; want starttls, direct or off", at, mode)
}

func checkResolver(r *Resolver) error {
	var errs []error
	if len(r.Listen) == 0 || len(r.Upstream) == 0 {
		errs = append(errs, errors.New("network.resolver: listen and upstream must both be given"))
	}
	for _, a := range append(append([]string{}, r.Listen...), r.Upstream...) {
		if err := checkAddress(a); err != nil {
			errs = append(errs, fmt.Errorf("network.resolver: %w", err))
		}
	}
	switch r.Answer {
	case "", "nxdomain", "null", "refused":
	default:
		errs = append(errs, fmt.Errorf("network.resolver.answer %q is not known; want nxdomain, null or refused", r.Answer))
	}
	return errors.Join(errs...)
}

func checkAddress(a string) error {
	if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
		return fmt.Errorf("address %q: want host:port", a)
	}
	return nil
}

// reference reports whether s points to a secret instead of being one.
func reference(s string) bool {
	for _, p := range []string{"file:", "env:", "credential:"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// Path returns p, relative to the folder of the configuration file.
func (c *Config) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.Dir, p)
}

// Data returns the data folder.
func (c *Config) Data() string { return c.Path(c.DataDir) }

// KeysDir returns the folder of the keys.
func (c *Config) KeysDir() string {
	if c.Keys.Dir == "" {
		return filepath.Join(c.Data(), "keys")
	}
	return c.Path(c.Keys.Dir)
}
