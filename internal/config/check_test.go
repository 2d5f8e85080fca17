package config_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
)

// gateway is a whole gateway whose lines tests replace.
const gateway = `gateways:
  - id: office
    kind: xmpp
    domain: example.org
    listen:
      - {address: "127.0.0.1:5222", tls: starttls, certificate: c.pem, key: k.pem}
    upstream: {address: "192.0.2.1:5222", tls: direct}
    on_failure: closed
`

// TestEachError: what is wrong in a file is said with its key and what would be right.
func TestEachError(t *testing.T) {
	change := func(old, by string) string { return strings.Replace(gateway, old, by, 1) }
	for _, c := range []struct{ name, text, want string }{
		{"unknown key at the top", "polic: x", "polic"},
		{"unknown key below", "console: {listn: x}", "listn"},
		{"unknown key in a list", change("kind: xmpp", "kind: xmpp\n    color: red"), "color"},
		{"a key twice", "policy: a\npolicy: b", "policy"},
		{"a list for a text", "policy: [a, b]", "policy"},
		{"a text for a list", "gateways: office", "gateways"},
		{"a word for a number", change("on_failure: closed", "limits: {stanza: many}"), "stanza"},
		{"no duration", "alerts: {every: soon}", `invalid duration "soon"`},
		{"no YAML", "a: [", ""},
		{"two documents", "policy: a\n---\npolicy: b\n", "second document"},
		{"no id", change("id: office", "id: ''"), "gateways[0]: id is missing"},
		{"another kind", change("kind: xmpp", "kind: matrix"), `kind "matrix" is not known; want xmpp`},
		{"no domain", change("domain: example.org", "domain: ''"), "domain is missing"},
		{"no listener", "gateways: [{id: a, kind: xmpp, domain: b, upstream: {address: 'c:1'}}]", "listen is empty"},
		{"failing how", change("on_failure: closed", "on_failure: maybe"), `on_failure "maybe" is not known; want closed or open`},
		{"no key", change(", key: k.pem", ""), "certificate and key are missing"},
		{"no port", change("127.0.0.1:5222", "127.0.0.1"), `gateways[0].listen: address "127.0.0.1": want host:port`},
		{"empty port", change("127.0.0.1:5222", "127.0.0.1:"), "want host:port"},
		{"IPv6 without brackets", change("127.0.0.1:5222", "::1:5222"), "want host:port"},
		{"no upstream", change(`upstream: {address: "192.0.2.1:5222", tls: direct}`, ""), "gateways[0].upstream"},
		{"upstream in clear", change("tls: direct", "tls: off"), "tls off is allowed only on a loopback address"},
		{"listener in clear", strings.NewReplacer("127.0.0.1:5222", "0.0.0.0:5222", "tls: starttls", "tls: off").Replace(gateway), "tls off is allowed only on a loopback address"},
		{"a name that is no loopback", strings.NewReplacer("192.0.2.1:5222", "localhost.example.org:5222", "tls: direct", "tls: off").Replace(gateway), "only on a loopback"},
		{"another way of TLS", change("tls: direct", "tls: ssl"), `tls "ssl" is not known; want starttls, direct or off`},
		{"an id twice", gateway + strings.TrimPrefix(gateway, "gateways:\n"), `gateways[1]: id "office" is used twice`},
		{"console's address", "console: {listen: localhost}", "console.listen"},
		{"metrics' address", "metrics: {listen: '9464'}", "metrics.listen"},
		{"resolver without upstream", "network: {resolver: {listen: ['127.0.0.1:53']}}", "listen and upstream must both be given"},
		{"resolver without listener", "network: {resolver: {upstream: ['192.0.2.53:53']}}", "listen and upstream must both be given"},
		{"resolver's upstream", "network: {resolver: {listen: ['127.0.0.1:53'], upstream: ['192.0.2.53']}}", `network.resolver: address "192.0.2.53"`},
		{"resolver's answer", "network: {resolver: {listen: ['127.0.0.1:53'], upstream: ['192.0.2.53:53'], answer: drop}}", "want nxdomain, null or refused"},
		{"passphrase in the file", "keys: {unlock: s3cret}", "keys.unlock: want file:PATH"},
		{"santa's address", "santa: {listen: '8445', tokens: t}", "santa.listen"},
		{"santa lets everybody in", "santa: {listen: '127.0.0.1:8445'}", "santa: machines need client_ca or tokens"},
		{"password in the file", "alerts: {mail: {server: 'm:25', password: s3cret}}", "alerts.mail.password: want file:PATH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v does not say %q", err, c.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}

// TestAllErrorsAtOnce: nobody has to start it again for each mistake.
func TestAllErrorsAtOnce(t *testing.T) {
	_, err := config.Parse([]byte("console: {listen: a}\nmetrics: {listen: b}\nkeys: {unlock: c}\ngateways: [{id: x, kind: irc, upstream: {address: d}}]\n"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"console.listen", "metrics.listen", "keys.unlock", "kind", "domain", "listen is empty", "gateways[0].upstream"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// TestWhatIsAllowed: forms that look wrong and are not.
func TestWhatIsAllowed(t *testing.T) {
	change := func(old, by string) string { return strings.Replace(gateway, old, by, 1) }
	for name, text := range map[string]string{
		"a whole gateway": gateway, "nothing": "", "a comment": "# nothing yet\n", "an end of document": "policy: a\n...\n", "a begin of document": "---\npolicy: a\n",
		"open": change("closed", "open"), "upstream on IPv6": change("192.0.2.1:5222", "[2001:db8::1]:5222"), "upstream by name": change("192.0.2.1:5222", "xmpp.example.org:5222"),
		"in clear on localhost": strings.NewReplacer("192.0.2.1:5222", "localhost:5222", "tls: direct", "tls: off").Replace(gateway),
		"in clear on ::1":       strings.NewReplacer("192.0.2.1:5222", "[::1]:5222", "tls: direct", "tls: off").Replace(gateway),
		"every address":         "metrics: {listen: ':9464'}",
		"santa by certificates": "santa: {listen: ':8445', client_ca: ca.pem}",
		"unlock by environment": "keys: {unlock: env:PASS}", "unlock by credential": "keys: {unlock: credential:pass}", "answers refused": "network: {resolver: {listen: ['a:1'], upstream: ['b:1'], answer: refused}}",
		"two gateways": gateway + strings.Replace(strings.TrimPrefix(gateway, "gateways:\n"), "id: office", "id: lab", 1),
	} {
		if _, err := config.Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDefaults: what is not said is the safe thing.
func TestDefaults(t *testing.T) {
	c, err := config.Parse([]byte("gateways: [{id: a, kind: xmpp, domain: b, listen: [{address: 'c:1', certificate: d, key: e}], upstream: {address: 'f:1'}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	g := c.Gateways[0]
	if c.DataDir != "./data" || g.OnFailure != "closed" || g.Listen[0].TLS != "starttls" || g.Upstream.TLS != "starttls" {
		t.Errorf("%+v", c)
	}
	if c.Console.Listen != "" || c.Metrics.Listen != "" || c.Network.Resolver != nil || c.Inspectors.Malware != nil || c.Alerts.Mail != nil {
		t.Errorf("what is not configured would run: %+v", c)
	}
}

// TestValuesArrive: each kind of value comes to where it is used.
func TestValuesArrive(t *testing.T) {
	c, err := config.Parse([]byte(`data_dir: /var/lib/chaperone
keys: {dir: k, compliance: [a.pub, b.pub], unlock: "env:PASS"}
ledger: {origin: example.org/log, checkpoints: ["file:/mnt/out", "syslog:10.0.0.2:514"]}
inspectors: {deadline: 750ms, malware: {clamd: "unix:/run/clamd.sock"}}
alerts: {every: 1h, heartbeat: -1s, mail: {server: "m:25", from: a@example.org, to: [b@example.org], password: "file:p"}}
network:
  sensors: [{interface: eth1}, {interface: eth2}]
  resolver: {listen: ["127.0.0.1:53"], upstream: ["192.0.2.53:53"], rewrite: {printer.example.org: 10.0.0.4}, rebind_protection: true, timeout: 3s}
purpose: daily review
`))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Network.Resolver
	if len(c.Keys.Compliance) != 2 || c.Ledger.Origin != "example.org/log" || c.Inspectors.Deadline != 750*time.Millisecond || c.Inspectors.Malware.Clamd != "unix:/run/clamd.sock" ||
		c.Alerts.Every != time.Hour || c.Alerts.Heartbeat != -time.Second || c.Alerts.Mail.To[0] != "b@example.org" || len(c.Network.Sensors) != 2 ||
		r.Rewrite["printer.example.org"] != "10.0.0.4" || !r.RebindProtection || r.Timeout != 3*time.Second || c.Purpose != "daily review" {
		t.Errorf("%+v", c)
	}
	if c.Data() != "/var/lib/chaperone" || c.Path("") != "" {
		t.Errorf("data in %s", c.Data())
	}
}

// TestPaths: relative ones start from the folder of the file, wherever the process runs.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) *config.Config {
		t.Helper()
		path := filepath.Join(dir, "chaperone.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct{ text, data, keys string }{
		{"agent: {mode: monitor}", filepath.Join(dir, "data"), filepath.Join(dir, "data", "keys")},
		{"data_dir: ../state", filepath.Join(filepath.Dir(dir), "state"), filepath.Join(filepath.Dir(dir), "state", "keys")},
		{"data_dir: /srv/c\nkeys: {dir: keys}", "/srv/c", filepath.Join(dir, "keys")},
		{"keys: {dir: /etc/keys}", filepath.Join(dir, "data"), "/etc/keys"},
	} {
		got := write(c.text)
		if got.Data() != c.data || got.KeysDir() != c.keys {
			t.Errorf("%q: data %s, keys %s", c.text, got.Data(), got.KeysDir())
		}
	}
}

// TestEmptyFile takes none that sets nothing: one that was cut would be the defaults, which it was written to change.
func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chaperone.yaml")
	for _, text := range []string{"", "\n \n", "# only a comment\n", "---\n", "{}"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path); !errors.Is(err, config.ErrEmpty) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := config.Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := config.Load(dir); err == nil {
		t.Error("a folder was read")
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# large\n"), 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(large); err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("a large file: %v", err)
	}
	wrong := filepath.Join(dir, "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("polic: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(wrong); err == nil || !strings.Contains(err.Error(), wrong) {
		t.Errorf("the error does not say which file: %v", err)
	}
}
