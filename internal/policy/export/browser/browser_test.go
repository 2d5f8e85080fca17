package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/browser"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

// TestFirefox evaluates the patterns as Firefox does: *://*.name/* is name and all below it.
func TestFirefox(t *testing.T) {
	var out bytes.Buffer
	if _, err := browser.Firefox(&out, exporttest.Plan(t, exporttest.Policy, export.Options{})); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Policies struct{ WebsiteFilter struct{ Block []string } }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{"web.whatsapp.com": true, "web.telegram.org": true, "app.slack.com": false, "example.com": false, "notwhatsapp.com": false} {
		blocked := false
		for _, p := range got.Policies.WebsiteFilter.Block {
			name, ok := strings.CutPrefix(strings.TrimSuffix(p, "/*"), "*://*.")
			if !ok || net.ParseIP(name) != nil || strings.ContainsAny(name, "*/:") {
				t.Fatalf("pattern %q", p)
			}
			blocked = blocked || host == name || strings.HasSuffix(host, "."+name)
		}
		if blocked != want {
			t.Errorf("%s: blocked %t, want %t", host, blocked, want)
		}
	}
}

func TestRegistry(t *testing.T) {
	var out bytes.Buffer
	if _, err := browser.Registry(&out, exporttest.Plan(t, exporttest.Policy, export.Options{})); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\r\n")
	value := regexp.MustCompile(`^"\d+"="[a-z0-9.-]+"$`)
	for i, l := range lines[1:] {
		if l != "" && !value.MatchString(l) && !strings.HasPrefix(l, `[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\`) && !strings.HasPrefix(l, `[-HKEY_LOCAL_MACHINE\SOFTWARE\Policies\`) {
			t.Errorf("line %d: %q", i+2, l)
		}
	}
	if lines[0] != "Windows Registry Editor Version 5.00" || strings.Count(out.String(), `="whatsapp.com"`) != 2 {
		t.Errorf("%.300s", out.String())
	}
}

// TestWatchedNames: a policy that only watches gives no empty list, which would open all that an earlier one closed; names that are watched among others
// are said.
func TestWatchedNames(t *testing.T) {
	const all = "version: 1\nmode: monitor\nrules:\n  - {id: none, apps: ['*'], verdict: block}\n"
	some := strings.Replace(all, "  - {id: none", "  - {id: one, apps: [signal], verdict: block, mode: enforce}\n  - {id: none", 1)
	for _, f := range browser.Formats() {
		if _, err := f.Write(io.Discard, exporttest.Plan(t, all, export.Options{})); !errors.Is(err, export.ErrWatched) {
			t.Errorf("%s: %v", f.Name, err)
		}
		var out bytes.Buffer
		left, err := f.Write(&out, exporttest.Plan(t, some, export.Options{}))
		if err != nil || !strings.Contains(strings.Join(left, "\n"), "names are only watched by the policy") || !strings.Contains(out.String(), "signal.org") || strings.Contains(out.String(), "whatsapp") {
			t.Errorf("%s: %v, left %q\n%s", f.Name, err, left, out.String())
		}
		if left, err := f.Write(io.Discard, exporttest.Plan(t, all, export.Options{Enforce: true})); err != nil || len(left) != 0 {
			t.Errorf("%s, enforced: %v, left %q", f.Name, err, left)
		}
	}
}

func TestNoMoreThanBrowsersTake(t *testing.T) {
	p := &export.Plan{}
	for i := range 1500 {
		p.Names = append(p.Names, export.Name{Suffix: strings.Repeat("a", i%50+1) + strings.Repeat("b", i/50+1) + ".example"})
	}
	var out bytes.Buffer
	left, err := browser.Chromium(&out, p)
	if err != nil || len(left) != 1 || strings.Count(out.String(), ".example") != 1000 {
		t.Errorf("%v, %v, %d names", left, err, strings.Count(out.String(), ".example"))
	}
}

// TestChromiumRefuses opens pages in the real browser under the written policy, in namespaces of its own: that of a messenger is refused by the
// policy before anything is asked of the network, another is not.
func TestChromiumRefuses(t *testing.T) {
	missing := ""
	if os.Getuid() != 0 {
		missing = "only root can give Chromium a managed policy"
	} else if _, err := exec.LookPath("chromium"); err != nil {
		missing = "chromium is not installed"
	}
	if missing != "" {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	file := filepath.Join(t.TempDir(), "policy.json")
	var out bytes.Buffer
	if _, err := browser.Chromium(&out, exporttest.Plan(t, exporttest.Policy, export.Options{})); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"https://web.whatsapp.com/": "ERR_BLOCKED_BY_ADMINISTRATOR", "https://desktop.telegram.org/x": "ERR_BLOCKED_BY_ADMINISTRATOR",
		"https://app.slack.com/": "ERR_INTERNET_DISCONNECTED",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
		// With the namespace of processes ends whatever the browser started, and nobody writes into the folder that goes away with the test.
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "testdata/open.sh", file, url, t.TempDir())
		said, err := cmd.CombinedOutput()
		cancel()
		if !strings.Contains(string(said), want) {
			t.Errorf("%s: no %s (%v):\n%s", url, want, err, said)
		}
	}
}
