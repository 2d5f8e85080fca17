package quickstart_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

func write(t *testing.T, dir, profile string) *quickstart.Result {
	t.Helper()
	r, err := quickstart.Write(quickstart.Options{Dir: dir, Profile: profile, Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestQuickstartProfiles(t *testing.T) {
	for _, profile := range policy.Profiles() {
		t.Run(profile, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			r := write(t, dir, profile)
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
	file, err := os.ReadFile(filepath.Join(dir, "data/keys", keyring.RecoveryFile))
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.Recover(file, lines)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(dir, "data/keys", keyring.CompliancePublic))
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
		_, err := quickstart.Write(quickstart.Options{Dir: dir, Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2})
		if !errors.Is(err, quickstart.ErrSetUp) {
			t.Errorf("%s there: %v", there, err)
		}
		if raw, _ := os.ReadFile(path); string(raw) != "mine" {
			t.Errorf("%s was written over", there)
		}
	}
}

func TestQuickstartTakesNoNonsense(t *testing.T) {
	good := quickstart.Options{Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2}
	for name, change := range map[string]func(o *quickstart.Options){
		"domain with YAML":  func(o *quickstart.Options) { o.Domain = "x]\nrules: [" },
		"no domain":         func(o *quickstart.Options) { o.Domain = "" },
		"console no port":   func(o *quickstart.Options) { o.Console = "127.0.0.1" },
		"console with YAML": func(o *quickstart.Options) { o.Console = "\"}\nx:1" },
		"profile":           func(o *quickstart.Options) { o.Profile = "mars" },
		"one share needed":  func(o *quickstart.Options) { o.Needed = 1 },
		"too many needed":   func(o *quickstart.Options) { o.Needed = 4 },
	} {
		o := good
		o.Dir = filepath.Join(t.TempDir(), "x")
		change(&o)
		if _, err := quickstart.Write(o); err == nil {
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
	write(t, dir, "plain")
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

// TestQuickstartKilled kills a quickstart of its own process at any moment; the next one leaves a folder as if nothing had happened.
func TestQuickstartKilled(t *testing.T) {
	if dir := os.Getenv("QUICKSTART_TEST_VICTIM"); dir != "" {
		write(t, dir, "plain")
		return
	}
	for round := range 12 {
		dir := filepath.Join(t.TempDir(), "new")
		cmd := exec.Command(os.Args[0], "-test.run=^TestQuickstartKilled$")
		cmd.Env = append(os.Environ(), "QUICKSTART_TEST_VICTIM="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(time.Duration(round+1) * 60 * time.Millisecond)) // the key is locked slowly: most moments are within
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := os.Stat(filepath.Join(dir, "chaperone.yaml")); err == nil {
			continue // it was quicker
		}
		whole(t, dir, write(t, dir, "plain"))
	}
}

// whole checks that everything is there, fits together, and that nothing else is.
func whole(t *testing.T, dir string, r *quickstart.Result) {
	t.Helper()
	c, err := config.Load(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Check(c); err != nil {
		t.Error(err)
	}
	recovered(t, dir, r.Shares[1:])
	if len(r.Links) != 3 {
		t.Errorf("links %v", r.Links)
	}
	book, err := account.Open(c.Data(), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	for name, link := range r.Links {
		if _, _, err := book.RedeemLink(link); err != nil {
			t.Errorf("the link of %s: %v", name, err)
		}
	}
	for _, folder := range []string{dir, c.Data()} {
		if _, err := os.Lstat(filepath.Join(folder, ".quickstart")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s still holds what was staged (%v)", folder, err)
		}
	}
}

// TestQuickstartCutShortWhileMoving: whichever pieces are in their place, the next run brings the others, and makes no other keys.
func TestQuickstartCutShortWhileMoving(t *testing.T) {
	pieces := []string{"data/keys", "data/state", "recovery-shares", "policy.yaml", "people.csv", "notice.md", "chaperone.yaml"}
	for moved := range len(pieces) + 1 {
		dir := filepath.Join(t.TempDir(), "new")
		write(t, dir, "plain")
		public, err := os.ReadFile(filepath.Join(dir, "data/keys", keyring.CompliancePublic))
		if err != nil {
			t.Fatal(err)
		}
		stage(t, dir, pieces[moved:])
		other := quickstart.Options{Dir: dir, Profile: "uk-eu", Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2}
		if _, err := quickstart.Write(other); err == nil || !strings.Contains(err.Error(), "--profile plain --domain example.org") {
			t.Errorf("%d moved: other options gave %v", moved, err)
		}
		r := write(t, dir, "plain")
		whole(t, dir, r)
		if now, err := os.ReadFile(filepath.Join(dir, "data/keys", keyring.CompliancePublic)); err != nil || string(now) != string(public) || !r.Resumed {
			t.Errorf("%d moved: the key is another one (%v), resumed is %v", moved, err, r.Resumed)
		}
	}
}

// stage puts a folder back to where a run stood when it had moved all but these pieces.
func stage(t *testing.T, dir string, pieces []string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Join(dir, ".quickstart"), 0o700), os.MkdirAll(filepath.Join(dir, "data/.quickstart"), 0o700),
		os.WriteFile(filepath.Join(dir, ".quickstart/whole.json"), []byte(`{"Profile":"plain","Domain":"example.org","Console":"127.0.0.1:8443","Shares":3,"Needed":2}`), 0o600))
	for _, p := range pieces {
		err = errors.Join(err, os.Rename(filepath.Join(dir, p), filepath.Join(dir, filepath.Dir(p), ".quickstart", filepath.Base(p))))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuickstartCutShortBefore: what was not whole is made anew, also where somebody put something in its way meanwhile.
func TestQuickstartCutShortBefore(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, "data/.quickstart/keys", keyring.CompliancePublic)
	if err := errors.Join(os.MkdirAll(filepath.Dir(half), 0o700), os.WriteFile(half, []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	whole(t, dir, write(t, dir, "plain"))
	again := quickstart.Options{Dir: dir, Profile: "plain", Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2}
	if _, err := quickstart.Write(again); !errors.Is(err, quickstart.ErrSetUp) {
		t.Errorf("a second one gave %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".quickstart")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused one left its folder (%v)", err)
	}

	dir = filepath.Join(t.TempDir(), "new")
	write(t, dir, "plain")
	stage(t, dir, []string{"notice.md", "chaperone.yaml"})
	if err := os.WriteFile(filepath.Join(dir, "notice.md"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	again.Dir = dir
	if _, err := quickstart.Write(again); !errors.Is(err, quickstart.ErrSetUp) || !strings.Contains(err.Error(), "notice.md") {
		t.Errorf("over a file of somebody else: %v", err)
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "notice.md")); string(raw) != "mine" {
		t.Error("it was written over")
	}
}

// TestQuickstartDataElsewhere: the data directory may lie on another file system, and holds nothing else.
func TestQuickstartDataElsewhere(t *testing.T) {
	data, err := os.MkdirTemp("/dev/shm", "data")
	if err != nil {
		data = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	o := quickstart.Options{Dir: filepath.Join(t.TempDir(), "etc"), Data: data, Profile: "plain", Domain: "example.org", Console: "127.0.0.1:8443", Shares: 2, Needed: 2}
	r, err := quickstart.Write(o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(r.Config)
	if err != nil || c.Data() != data {
		t.Fatalf("%s, %v", c.Data(), err)
	}
	if err := server.Check(c); err != nil {
		t.Error(err)
	}
	o.Dir = filepath.Join(t.TempDir(), "etc")
	if _, err := quickstart.Write(o); err == nil {
		t.Error("keys were made beside other data")
	}
}

// TestBesideAnAgent makes keys where an agent kept what it could not put on record yet, and beside nothing else.
func TestBesideAnAgent(t *testing.T) {
	for left, want := range map[string]bool{"agent/spool/spool.jsonl": true, "quarantine/x/manifest.json": true, "journal/x": false, "state/x": false, "letters": false} {
		data := t.TempDir()
		path := filepath.Join(data, left)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("kept"), 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := quickstart.Write(quickstart.Options{Dir: filepath.Join(t.TempDir(), "firm"), Data: data, Profile: policy.Profiles()[0], Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2})
		if b, readErr := os.ReadFile(path); (err == nil) != want || readErr != nil || string(b) != "kept" {
			t.Errorf("beside %s: %v; %q, %v", left, err, b, readErr)
		}
	}
}
