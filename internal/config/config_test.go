package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/config"
)

const good = `
data_dir: ./data
policy: policy.yaml
keys: {compliance: [compliance.pub], unlock: "file:pass"}
console: {listen: "127.0.0.1:8443"}
gateways:
  - id: office
    kind: xmpp
    domain: example.org
    listen: [{address: "127.0.0.1:5222", tls: starttls, certificate: cert.pem, key: key.pem}]
    upstream: {address: "127.0.0.1:15222", tls: off}
network:
  resolver: {listen: ["127.0.0.1:53"], upstream: ["192.0.2.53:53"], timeout: 1s}
`

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chaperone.yaml")
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Data(), filepath.Join(filepath.Dir(path), "data"); got != want {
		t.Errorf("Data() = %q, want %q", got, want)
	}
	if got, want := c.KeysDir(), filepath.Join(c.Data(), "keys"); got != want {
		t.Errorf("KeysDir() = %q, want %q", got, want)
	}
	if c.Gateways[0].OnFailure != "closed" {
		t.Error("a gateway does not fail closed by default")
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "data_dirs: x", "data_dirs"},
		{"bytes", "\x1b[31m\x00\xff", "not a text file"},
		{"escape", "a: \x1b[31m", "not a text file"},
		{"place", "console:\n  listen: a:1\n  port: 3", "[3:"},
		{"plain on the network", strings.Replace(good, "127.0.0.1:15222", "192.0.2.9:5222", 1), "only on a loopback"},
		{"kind", strings.Replace(good, "kind: xmpp", "kind: irc", 1), `kind "irc" is not known`},
		{"no certificate", strings.Replace(good, "certificate: cert.pem, ", "", 1), "certificate and key"},
		{"secret in the file", strings.Replace(good, "file:pass", "hunter2", 1), "keys.unlock"},
		{"address", strings.Replace(good, `"127.0.0.1:8443"`, "8443", 1), "want host:port"},
		{"answer", "network: {resolver: {listen: ['a:1'], upstream: ['b:1'], answer: no}}", "nxdomain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats the secret")
			}
		})
	}
}

func TestEmptyIsFine(t *testing.T) {
	if _, err := config.Parse(nil); err != nil {
		t.Error(err)
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	var b strings.Builder
	if err := config.Describe(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "|  |") {
			t.Errorf("no description: %s", line)
		}
	}
	for _, key := range []string{"`gateways[].listen[].certificate`", "`network.resolver.timeout` | duration", "`alerts.mail.password`"} {
		if !strings.Contains(b.String(), key) {
			t.Errorf("no line for %s", key)
		}
	}
	if reflect.TypeFor[config.Config]().NumField() < 10 {
		t.Error("the configuration shrank")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("console: {listen: 1}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 1<<12 {
			config.Parse(b)
		}
	})
}

// TestDeepNestingIsRefused before the parser sees it: that would take it for ever.
func TestDeepNestingIsRefused(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 1<<20-1), strings.Repeat("{a: ", 1<<18), strings.Repeat("- ", 1<<18)} {
		if _, err := config.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
