package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/loopback"
)

const (
	macID    = "A1B2C3D4-0000-4000-8000-00000000000A"
	macToken = "0123456789abcdef-token"
	telegram = "6N38VWS5BX" // the team of Telegram
	signals  = "U68MSDN6DR" // and that of Signal
)

// firedLine is a line of policy fired --json.
type firedLine struct {
	Type, Enforcer, Key, App, Rule string
	Times                          int
	Hosts                          []string
}

// TestOtherEnforcersReport: a real serve is the sync server of a Mac by the four stages of Santa's protocol over TLS, and reads the events of Windows
// that a collector of syslog wrote; policy fired then tells which exported rules ever fired, and what comes again counts once.
func TestOtherEnforcersReport(t *testing.T) {
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	d := onDisk(t, t.TempDir())
	log := filepath.Join(d.dir, "windows.log")
	config := fmt.Sprintf("policy: own.yaml\npeople: {csv: people.csv}\nkeys: {unlock: \"file:data/keys/passphrase\"}\nsanta: {listen: %q, tokens: tokens}\nendpoint: {logs: [{format: windows, path: %q}]}\n", at, log)
	for name, text := range map[string]string{d.config(): config, filepath.Join(d.dir, "tokens"): macID + " " + macToken + "\n", log: "",
		filepath.Join(d.dir, "people.csv"): "person,host,groups\nalice,mac-a,desk\n",
		filepath.Join(d.dir, "own.yaml"):   "version: 1\ngroups: {desk: {}}\nrules: [{id: desk, apps: [signal], groups: [desk], verdict: allow}, {id: none, apps: ['*'], verdict: block}]\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(d.serve())
	m := &syncing{t: t, at: "https://" + at, http: trusting(t, filepath.Join(d.dir, "data", "keys", "santa.crt"))}
	m.wholeSync()
	keys := map[string]string{}
	for _, f := range fired(t, d) {
		if f.App == "telegram" && f.Type == "rule" && keys[f.Enforcer] == "" {
			keys[f.Enforcer] = f.Key
		}
		if f.Enforcer != "santa" && f.Times != 0 {
			t.Errorf("fired before anything was read: %+v", f)
		}
	}
	guid, product, _ := strings.Cut(keys["appcontrol"], ":")
	lines := []string{
		`<11>1 2026-11-25T21:00:00.25Z collector wec 4 - [origin ip="{1}"] ` + "\ufeff" + `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-AppLocker'/><EventID>8004</EventID><TimeCreated SystemTime='` +
			time.Now().UTC().Format(time.RFC3339Nano) + `'/><Channel>Microsoft-Windows-AppLocker/EXE and DLL</Channel><Computer>PC-7</Computer></System><UserData><RuleAndFileData><RuleId>{` + keys["applocker"] + `}</RuleId><FullFilePath>C:\Users\a\t.exe</FullFilePath></RuleAndFileData></UserData></Event>`,
		`<11>1 ` + time.Now().UTC().Format(time.RFC3339Nano) + ` PC-8 Microsoft-Windows-CodeIntegrity 4 3077 [NXLOG@14506 Guid="{2}"] {"EventID":3077,"SourceName":"Microsoft-Windows-CodeIntegrity","File Name":"C:\\x.exe","ProductName":"` + product + `","PolicyID":"` + guid + `"}`,
	}
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f, strings.Join(lines, "\n"))
	f.Close()
	want := map[string]string{"santa": "TEAMID:" + telegram + " 1 [mac-a]", "applocker": keys["applocker"] + " 1 [PC-7]", "appcontrol": keys["appcontrol"] + " 1 [PC-8]"}
	got := map[string]string{}
	for deadline := time.Now().Add(2 * time.Minute); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, f := range fired(t, d) {
			if f.Type == "rule" && f.Times > 0 {
				got[f.Enforcer] = fmt.Sprintf("%s %d %v", f.Key, f.Times, f.Hosts)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("fired %v\nwant %v", got, want)
	}
}

// fired asks the running server which rules fired.
func fired(t *testing.T, d *desk) []firedLine {
	t.Helper()
	var out, errOut bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if status := run([]string{"policy", "fired", "--json", "--config", d.config()}, &command.Env{Ctx: ctx, In: strings.NewReader(""), Out: &out, ErrOut: &errOut}); status != 0 {
		t.Fatalf("exit status %d: %s", status, errOut.String())
	}
	var lines []firedLine
	for text := range strings.Lines(out.String()) {
		var f firedLine
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, f)
	}
	return lines
}

// trusting is a client that trusts one certificate alone.
func trusting(t *testing.T, file string) *http.Client {
	t.Helper()
	cert, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cert) {
		t.Fatalf("no certificate in %s", file)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// syncing is a Mac that syncs.
type syncing struct {
	t    *testing.T
	at   string
	http *http.Client
}

// wholeSync runs preflight, event upload, rule download and postflight; the upload is made twice, as by a machine that got no answer.
func (m *syncing) wholeSync() {
	m.t.Helper()
	m.refused()
	var pre struct {
		SyncType  string `json:"sync_type"`
		BatchSize int    `json:"batch_size"`
	}
	m.post("preflight", map[string]any{"hostname": "mac-a", "serial_num": "C02", "santa_version": "2026.1", "os_version": "15.1", "client_mode": "MONITOR"}, &pre)
	if pre.SyncType != "CLEAN" || pre.BatchSize == 0 {
		m.t.Errorf("preflight %+v", pre)
	}
	stopped := map[string]any{"file_sha256": strings.Repeat("2", 64), "file_path": "/Applications/Telegram.app/Contents/MacOS", "file_name": "Telegram", "executing_user": "alice", "execution_time": 1764072000.25,
		"decision": "BLOCK_TEAMID", "team_id": telegram, "signing_id": telegram + ":ru.keepcoder.Telegram", "pid": 42}
	for range 2 {
		m.post("eventupload", map[string]any{"events": []any{stopped}}, &struct{}{})
	}
	var rules []struct {
		Identifier string `json:"identifier"`
		RuleType   string `json:"rule_type"`
		Policy     string `json:"policy"`
	}
	for cursor := ""; ; {
		var page struct {
			Rules  json.RawMessage `json:"rules"`
			Cursor string          `json:"cursor"`
		}
		m.post("ruledownload", map[string]any{"cursor": cursor}, &page)
		had := len(rules)
		more := rules[had:]
		if err := json.Unmarshal(page.Rules, &more); err != nil {
			m.t.Fatal(err)
		}
		rules = append(rules, more...)
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	found := false
	for _, r := range rules {
		found = found || r.RuleType == "TEAMID" && r.Identifier == telegram && r.Policy == "BLOCKLIST"
		if r.RuleType == "TEAMID" && r.Identifier == signals {
			m.t.Errorf("what the group of the directory may is blocked: %+v", r)
		}
		if !slices.Contains([]string{"BINARY", "TEAMID", "SIGNINGID"}, r.RuleType) || r.Identifier == "" {
			m.t.Errorf("rule %+v", r)
		}
	}
	if !found {
		m.t.Errorf("no rule for Telegram among %d", len(rules))
	}
	m.post("postflight", map[string]any{"rules_received": len(rules), "rules_processed": len(rules), "sync_type": "CLEAN"}, &struct{}{})
	if m.post("preflight", map[string]any{"hostname": "mac-a"}, &pre); pre.SyncType != "NORMAL" {
		m.t.Errorf("the next preflight %+v", pre)
	}
}

// refused holds that nobody is let in without the token of the machine.
func (m *syncing) refused() {
	m.t.Helper()
	r, err := m.http.Post(m.at+"/preflight/"+macID, "application/json", strings.NewReader("{}"))
	if err != nil {
		m.t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusUnauthorized {
		m.t.Errorf("without a token: %d", r.StatusCode)
	}
}

// post sends one stage.
func (m *syncing) post(stage string, body map[string]any, answer any) {
	m.t.Helper()
	body["machine_id"] = macID
	text, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.at+"/"+stage+"/"+macID, bytes.NewReader(text))
	if err != nil {
		m.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Authorization", "Bearer "+macToken)
	r, err := m.http.Do(q)
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		m.t.Fatalf("%s: %d %s %v", stage, r.StatusCode, said, err)
	}
	if err := json.Unmarshal(said, answer); err != nil {
		m.t.Fatalf("%s: %s: %v", stage, said, err)
	}
}
