package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/browser"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

// insideFirefox names the part of TestFirefoxRefuses that runs within the namespaces; its value is "policy" or "none".
const insideFirefox = "CHAPERONE_TEST_FIREFOX"

// TestFirefoxRefuses opens pages in the real browser under the written policy, in namespaces of its own where each name is this machine: a
// messenger's page is refused and its server never asked, another page is shown; without the policy both are, which CHAPERONE_SOAK tries too.
func TestFirefoxRefuses(t *testing.T) {
	missing := ""
	if os.Getuid() != 0 {
		missing = "only root can give Firefox a managed policy"
	} else if _, err := exec.LookPath("firefox-esr"); err != nil {
		missing = "firefox-esr is not installed"
	}
	if missing != "" {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	file := filepath.Join(t.TempDir(), "policies.json")
	var out bytes.Buffer
	if _, err := browser.Firefox(&out, exporttest.Plan(t, exporttest.Policy, export.Options{})); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for with, policy := range map[string]string{"policy": file, "none": ""} {
		if with == "none" && os.Getenv("CHAPERONE_SOAK") == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "testdata/firefox.sh", policy,
			self, "-test.run=^TestInsideFirefox$", "-test.v")
		home := t.TempDir()
		cmd.Env = append(os.Environ(), insideFirefox+"="+with, "HOME="+home, "TMPDIR="+home)
		said, err := cmd.CombinedOutput()
		cancel()
		if err != nil || !strings.Contains(string(said), "--- PASS: TestInsideFirefox") {
			t.Errorf("with %s: %v\n%s", with, err, said)
		}
	}
}

// TestInsideFirefox is what TestFirefoxRefuses runs in the namespaces.
func TestInsideFirefox(t *testing.T) {
	with := os.Getenv(insideFirefox)
	if with == "" {
		t.Skip("a part of TestFirefoxRefuses")
	}
	var mu sync.Mutex
	asked := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		mu.Lock()
		asked[host] = true
		mu.Unlock()
		fmt.Fprintf(w, "<title>page of %s</title>", host)
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f := startFirefox(t)
	for _, host := range []string{"web.whatsapp.com", "app.slack.com", "desktop.telegram.org"} {
		refused := with == "policy" && host != "app.slack.com"
		_, err := f.do("WebDriver:Navigate", map[string]any{"url": "http://" + net.JoinHostPort(host, port) + "/x"})
		title, titleErr := f.do("WebDriver:GetTitle", map[string]any{})
		if titleErr != nil {
			t.Fatal(titleErr)
		}
		mu.Lock()
		was := asked[host]
		mu.Unlock()
		if refused != (err != nil && strings.Contains(err.Error(), "blockedByPolicy")) || refused == was || !refused && (err != nil || !strings.Contains(string(title), "page of "+host)) {
			t.Errorf("with %s, %s: %v, title %s, its server was asked: %t", with, host, err, title, was)
		}
	}
}

// firefox is a browser that is driven by Marionette (firefox-source-docs.mozilla.org/testing/marionette/Protocol.html): messages of the form
// LENGTH:[0, id, command, parameters], answered by [1, id, error, result].
type firefox struct {
	conn net.Conn
	in   *bufio.Reader
	id   int
}

// startFirefox starts the browser with a profile of its own, in which no list of the browser's maker sends plain pages elsewhere.
func startFirefox(t *testing.T) *firefox {
	t.Helper()
	profile := t.TempDir()
	prefs := ""
	for name, value := range map[string]string{"network.stricttransportsecurity.preloadlist": "false", "dom.security.https_first": "false", "network.captive-portal-service.enabled": "false",
		"network.connectivity-service.enabled": "false", "browser.shell.checkDefaultBrowser": "false", "datareporting.policy.dataSubmissionEnabled": "false", "app.update.enabled": "false",
		"marionette.port": "0"} {
		prefs += fmt.Sprintf("user_pref(%q, %s);\n", name, value)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "firefox-esr", "--headless", "--no-remote", "--marionette", "--profile", profile)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	f := &firefox{}
	t.Cleanup(func() {
		if f.conn != nil {
			f.conn.Close()
		}
		cmd.Process.Kill()
		<-gone
	})
	for f.conn == nil {
		select {
		case err := <-gone:
			gone <- err
			t.Fatalf("firefox ended: %v\n%s", err, said.String())
		case <-time.After(50 * time.Millisecond):
		}
		port, err := os.ReadFile(filepath.Join(profile, "MarionetteActivePort"))
		if err != nil {
			continue
		}
		if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strings.TrimSpace(string(port)))); err == nil {
			f.conn, f.in = conn, bufio.NewReader(conn)
		}
	}
	if _, err := f.read(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.do("WebDriver:NewSession", map[string]any{}); err != nil {
		t.Fatal(err)
	}
	return f
}

// read reads one message.
func (f *firefox) read() ([]byte, error) {
	length, err := f.in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil || n > 16<<20 {
		return nil, fmt.Errorf("a message of %q", length)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(f.in, b)
	return b, err
}

// do carries out a command, and returns what it results in.
func (f *firefox) do(command string, parameters map[string]any) (json.RawMessage, error) {
	f.id++
	b, err := json.Marshal([]any{0, f.id, command, parameters})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(f.conn, "%d:%s", len(b), b); err != nil {
		return nil, err
	}
	if b, err = f.read(); err != nil {
		return nil, err
	}
	var answer []json.RawMessage
	if err := json.Unmarshal(b, &answer); err != nil || len(answer) != 4 {
		return nil, errors.Join(err, fmt.Errorf("answer %s", b))
	}
	if failed := string(answer[2]); failed != "null" {
		return nil, fmt.Errorf("%s: %s", command, failed)
	}
	return answer[3], nil
}
