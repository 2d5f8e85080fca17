package fapolicyd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/logs"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/policy/export/fapolicyd"
)

func written(t *testing.T, p *export.Plan) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := fapolicyd.Write(&out, p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRules(t *testing.T) {
	text := written(t, exporttest.Plan(t, exporttest.Policy, export.Options{}))
	for _, want := range []string{
		"\nallow perm=execute all : sha256hash=" + exporttest.Allowed + "\n", "\ndeny_syslog perm=execute all : sha256hash=" + exporttest.Denied + "\n",
		"\ndeny_syslog perm=execute all : dir=/media/\n", "\ndeny_syslog perm=execute all : path=/usr/bin/telegram-desktop\n",
		"\ndeny_syslog perm=execute all : dir=/snap/skype/\n", "\ndeny_syslog perm=execute all : dir=/var/lib/flatpak/app/org.signal.Signal/\n",
		"\ndeny_syslog perm=execute all : dir=/opt/zoom/\n", "\ndeny_syslog perm=execute all : path=/usr/libexec/jamid\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no rule %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "slack") {
		t.Error("what is approved is denied")
	}
	if strings.Index(text, exporttest.Allowed) > strings.Index(text, exporttest.Denied) {
		t.Error("the first rule that matches decides: what is allowed must stand first")
	}
}

// TestNothingBreaksOutOfItsLine: the words of a policy are no rules.
func TestNothingBreaksOutOfItsLine(t *testing.T) {
	p := exporttest.Plan(t, exporttest.Policy, export.Options{})
	for i := range p.Apps {
		p.Apps[i].Rule = "x\nallow perm=any all : all\n"
	}
	p.Removable.Rule = "y\r\nallow perm=any all : all"
	for _, line := range strings.Split(written(t, p), "\n") {
		if strings.HasPrefix(line, "allow perm=any") {
			t.Errorf("a rule of somebody else: %s", line)
		}
	}
}

// TestPlacesThatCannotBeWritten: a path with a space would be a rule with two attributes, so it is left out, and told.
func TestPlacesThatCannotBeWritten(t *testing.T) {
	var out bytes.Buffer
	left, err := fapolicyd.Write(&out, exporttest.Plan(t, exporttest.Policy, export.Options{}))
	if err != nil || strings.Contains(out.String(), "Signal Beta") || !strings.Contains(out.String(), "dir=/opt/Signal/\n") {
		t.Errorf("%v:\n%s", err, out.String())
	}
	if !strings.Contains(strings.Join(left, "\n"), "/opt/Signal Beta/ of signal is not denied") {
		t.Errorf("not told: %q", left)
	}
}

func TestNothingIsWrittenForAPolicyThatWatches(t *testing.T) {
	p := exporttest.Plan(t, "version: 1\nmode: monitor\nrules: [{id: none, apps: ['*'], verdict: block}]\n", export.Options{})
	if _, err := fapolicyd.Write(io.Discard, p); !errors.Is(err, export.ErrWatched) {
		t.Error(err)
	}
}

// TestTheDaemonCarriesItOut loads the rules into the real daemon: a client that a scan found does not run under another name, nor does one where the
// vendor's package has it, by its path and by a link to it, and all else does.
func TestTheDaemonCarriesItOut(t *testing.T) {
	missing := ""
	if os.Getuid() != 0 {
		missing = "only root can run fapolicyd"
	} else if _, err := exec.LookPath("fapolicyd"); err != nil {
		missing = "fapolicyd is not installed"
	}
	if missing != "" {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir := t.TempDir()
	body, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	client, rules := filepath.Join(dir, "client"), filepath.Join(dir, "rules")
	body = append(body, "tdesktop"...)
	sum := sha256.Sum256(body)
	p := exporttest.Plan(t, exporttest.Policy, export.Options{Found: []export.Found{{SHA256: hex.EncodeToString(sum[:]), App: "telegram", Format: "elf", Confidence: 990}}})
	for name, b := range map[string][]byte{client: body, rules: []byte(written(t, p))} {
		if err := os.WriteFile(name, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "testdata/daemon.sh", rules, client, "/bin/true").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "innocent runs") || !strings.Contains(string(out), "client denied") ||
		!strings.Contains(string(out), "installed denied") || !strings.Contains(string(out), "link denied") || !strings.Contains(string(out), "neighbour runs") {
		t.Errorf("%v:\n%s", err, out)
	}
	if strings.Contains(strings.ToLower(string(out)), "invalid") {
		t.Errorf("the daemon does not understand a rule:\n%s", out)
	}
	fired(t, p, string(out))
}

// fired reads the daemon's own lines: of all rules that were exported, exactly the one for the client fired.
func fired(t *testing.T, p *export.Plan, out string) {
	t.Helper()
	parser, err := logs.Parser(logs.Fapolicyd, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, line := range strings.Split(out, "\n") {
		if !strings.HasPrefix(line, "rule=") {
			continue
		}
		e, err := parser.Line([]byte(line))
		if err != nil || e == nil || e.User != "0" || !strings.HasSuffix(e.Path, "/holiday.jpg") && e.Path != "/opt/zoom/ZoomLauncher" {
			t.Fatalf("%q: %+v, %v", line, e, err)
		}
		keys = append(keys, e.Rule)
	}
	for _, r := range fapolicyd.Rules(p) {
		want := r.App == "telegram" && strings.HasPrefix(r.Key, "sha256hash=") || r.Key == "dir=/opt/zoom/"
		if slices.ContainsFunc(keys, r.Fired) != want {
			t.Errorf("%+v fired: %v (the daemon said %q)", r, !want, keys)
		}
	}
}
