package server_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/server"
)

func TestQuickstartProfiles(t *testing.T) {
	for _, profile := range policy.Profiles() {
		t.Run(profile, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			r := quickstart(t, dir, profile)
			c, err := config.Load(r.Config)
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Check(c); err != nil {
				t.Fatal(err)
			}
			if len(r.Links) != 3 || len(r.Shares) != 3 {
				t.Errorf("%d links, %d shares", len(r.Links), len(r.Shares))
			}
			for _, folder := range []string{"data/keys", "recovery-shares", "data/state"} {
				err := filepath.WalkDir(filepath.Join(dir, folder), func(path string, d fs.DirEntry, err error) error {
					if err != nil {
						return err
					}
					if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
						t.Errorf("%s is %v (%v)", path, info.Mode(), err)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
			recovered(t, dir, r.Shares[1:])
			if own := len(c.Console.Purposes) > 0; own != (profile != "plain") {
				t.Errorf("purposes %q", c.Console.Purposes)
			}
			notice, err := os.ReadFile(filepath.Join(dir, "notice.md"))
			if err != nil || !strings.Contains(string(notice), "days (class ") {
				t.Errorf("notice %s, %v", notice, err)
			}
			for _, p := range c.Console.Purposes {
				if !strings.Contains(string(notice), p) {
					t.Errorf("the notice does not name the purpose %q", p)
				}
			}
		})
	}
}

// recovered checks that shares give back the key of the public one.
func recovered(t *testing.T, dir string, shares []string) {
	t.Helper()
	var lines []string
	for _, path := range shares {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(string(raw)))
	}
	file, err := os.ReadFile(filepath.Join(dir, "data/keys", server.RecoveryFile))
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.Recover(file, lines)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(dir, "data/keys", server.CompliancePublic))
	if err != nil || strings.TrimSpace(string(public)) != key.Public().String() {
		t.Errorf("the shares give another key (%v)", err)
	}
	if _, err := seal.Recover(file, lines[:1]); err == nil {
		t.Error("one share is enough")
	}
}

func TestQuickstartWritesOverNothing(t *testing.T) {
	for _, there := range []string{"chaperone.yaml", "policy.yaml", "people.csv", "data/keys/compliance.key", "recovery-shares/share-1.txt"} {
		dir := t.TempDir()
		path := filepath.Join(dir, there)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("mine"), 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := server.Quickstart(server.QuickstartOptions{Dir: dir, Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2})
		if !errors.Is(err, server.ErrSetUp) {
			t.Errorf("%s there: %v", there, err)
		}
		if raw, _ := os.ReadFile(path); string(raw) != "mine" {
			t.Errorf("%s was written over", there)
		}
	}
}

func TestQuickstartTakesNoNonsense(t *testing.T) {
	good := server.QuickstartOptions{Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2}
	for name, change := range map[string]func(o *server.QuickstartOptions){
		"domain with YAML":  func(o *server.QuickstartOptions) { o.Domain = "x]\nrules: [" },
		"no domain":         func(o *server.QuickstartOptions) { o.Domain = "" },
		"console no port":   func(o *server.QuickstartOptions) { o.Console = "127.0.0.1" },
		"console with YAML": func(o *server.QuickstartOptions) { o.Console = "\"}\nx:1" },
		"profile":           func(o *server.QuickstartOptions) { o.Profile = "mars" },
		"one share needed":  func(o *server.QuickstartOptions) { o.Needed = 1 },
		"too many needed":   func(o *server.QuickstartOptions) { o.Needed = 4 },
	} {
		o := good
		o.Dir = filepath.Join(t.TempDir(), "x")
		change(&o)
		if _, err := server.Quickstart(o); err == nil {
			t.Errorf("%s: it went through", name)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, "data")); err == nil {
			t.Errorf("%s: it left something behind", name)
		}
	}
}

// TestQuickstartConfigurationUncommented takes the comment signs off: what the file shows must be what the program reads.
func TestQuickstartConfigurationUncommented(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	quickstart(t, dir, "plain")
	raw, err := os.ReadFile(filepath.Join(dir, "chaperone.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(string(raw), "\n") {
		bare := strings.TrimPrefix(line, "# ")
		for _, key := range []string{"gateways:", "network:", "inspectors:", "alerts:", "  "} {
			if line != bare && strings.HasPrefix(bare, key) {
				line = bare
			}
		}
		if strings.HasPrefix(line, "  # checkpoints:") {
			line = strings.Replace(line, "# ", "", 1)
			lines = lines[:len(lines)-1]
		}
		lines = append(lines, line)
	}
	c, err := config.Parse([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	if len(c.Gateways) != 1 || c.Network.Resolver == nil || c.Inspectors.Malware == nil || len(c.Alerts.Syslog) != 1 || len(c.Ledger.Checkpoints) != 3 {
		t.Errorf("not all was uncommented: %+v", c)
	}
	c.Gateways, c.Keys.Unlock, c.Console.Listen, c.Policy, c.People.CSV = nil, "", "", "", ""
	c.Dir = dir
	if err := server.Check(c); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	public, private, err := server.Keys(h.cfg)
	if err != nil || len(public) != 1 || private == nil || private.Public().ID() != public[0].ID() {
		t.Fatalf("%v", err)
	}
	h.cfg.Keys.Unlock = ""
	if _, private, err := server.Keys(h.cfg); err != nil || private != nil {
		t.Errorf("without unlock: %v", err)
	}
	h.write("wrong", "wrong\n")
	h.cfg.Keys.Unlock = "file:wrong"
	if _, _, err := server.Keys(h.cfg); err == nil {
		t.Error("a wrong passphrase unlocks")
	}
	h.write("data/keys/compliance.pub", "nonsense")
	if _, _, err := server.Keys(h.cfg); err == nil || !strings.Contains(err.Error(), "compliance.pub") {
		t.Errorf("a broken key gave %v", err)
	}
	os.Remove(h.path("data/keys/compliance.pub"))
	if _, _, err := server.Keys(h.cfg); !errors.Is(err, server.ErrNoKeys) {
		t.Errorf("no key gave %v", err)
	}
}
