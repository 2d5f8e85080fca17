package server_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server"
)

func TestStoreOpensOnceAndClosesInOrder(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	s, _ := h.open()
	rules, err := server.LoadRules(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.OpenStore(t.Context(), h.cfg, rules.Class, health.NewBoard(time.Now), slog.New(slog.DiscardHandler)); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a second process opened it: %v", err)
	}
	s.Start(t.Context())
	for range 10 {
		if err := s.Recorder.Record(t.Context(), wrote(time.Now(), "alice", "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.Ledger.Size(); got < 10 {
		t.Errorf("the ledger closed at %d frames", got)
	}
	h.cfg.Keys.Unlock = ""
	blind, _ := h.open() // seals, and cannot read
	if blind.Archive != nil || blind.Keeper != nil {
		t.Error("a store without the key reads")
	}
	blind.Start(t.Context())
	if err := errors.Join(blind.Recorder.Record(t.Context(), wrote(time.Now(), "bob", "x")), blind.Close()); err != nil {
		t.Error(err)
	}
	key := filepath.Join(h.cfg.KeysDir(), "ledger.key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := server.OpenStore(t.Context(), h.cfg, rules.Class, health.NewBoard(time.Now), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "backup of the keys") {
		t.Errorf("a lost ledger key gave %v", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key was made for a ledger that another one signed")
	}
}

func TestWhatACrashCutOffIsARecord(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	h.record(wrote(time.Now(), "alice", "kept"))
	segments, err := filepath.Glob(h.path("data/journal/local/*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segment", err)
	}
	f, err := os.OpenFile(segments[len(segments)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("CJF1 torn")
	f.Close()
	h.serve()
	if hits := h.hits("kind:gap"); len(hits) != 1 {
		t.Errorf("%d gaps are on record", len(hits))
	}
	if hits := h.hits("kept"); len(hits) != 1 {
		t.Errorf("%d of 1 messages are left", len(hits))
	}
}

func TestReloadIsAllOrNothing(t *testing.T) {
	at := free(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\n")
	good, err := os.ReadFile(h.path("policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := server.LoadRules(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	version := rules.Policy().Version()
	h.serve()
	h.write("policy.yaml", "version: 1\nrules: [{id: x, messages: 'nonsense(', verdict: block}]\n")
	if err := rules.Reload(); err == nil || rules.Policy().Version() != version {
		t.Errorf("a broken policy is in force (%v)", err)
	}
	hup := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hup()
	until(t, "health says that the policy is broken", func() bool { return state(t, at, "policy").State == health.Degraded })
	if i := state(t, at, "policy"); !strings.Contains(i.Detail, "stays in force") {
		t.Errorf("%+v", i)
	}
	h.write("policy.yaml", strings.Replace(string(good), "mode:", "# changed\nmode:", 1))
	hup()
	until(t, "health says that the policy is well", func() bool {
		i := state(t, at, "policy")
		return i.State == health.OK && !strings.Contains(i.Detail, version)
	})
	until(t, "the reload is on record", func() bool { return h.acts("policy.reload") == 1 })
}

func TestMetricsAndHealth(t *testing.T) {
	at := free(t)
	beside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(beside.Close)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\nledger: {checkpoints: ['"+beside.URL+"']}\n")
	stop := h.serve()
	until(t, "all is well but the recipient", func() bool {
		code, body := get(t, "http://"+at+"/healthz")
		return code == 200 && strings.Contains(body, `"projections","state":"ok"`) && strings.Contains(body, `"checkpoints","state":"degraded"`)
	})
	if i := state(t, at, "checkpoints"); !strings.Contains(i.Detail, "this machine") {
		t.Errorf("a recipient on this machine counts as one outside: %+v", i)
	}
	for _, item := range []string{"journal", "ledger", "policy", "projections", "disk"} {
		if i := state(t, at, item); i.State != health.OK {
			t.Errorf("%+v", i)
		}
	}
	_, body := get(t, "http://"+at+"/metrics")
	for _, want := range []string{`chaperone_journal_frames{stream="local"}`, `chaperone_health_state{item="journal"} 0`, "chaperone_archive_lag_seconds", "go_goroutines"} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if items := h.must("health", struct{}{}); !strings.Contains(items, `"journal"`) {
		t.Error(items)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.do("health", struct{}{}); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("stopped, and answers: %v", err)
	}
	h.serve() // everything was given back
	if n := h.acts("serve.stop"); n != 1 {
		t.Errorf("%d stops are on record", n)
	}
}

// TestCopyBesideTheData: who can change the record can change such a copy, and health says so.
func TestCopyBesideTheData(t *testing.T) {
	at := free(t)
	newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\nledger: {checkpoints: ['file:"+t.TempDir()+"']}\n").serve()
	until(t, "health says what the copy is worth", func() bool {
		i := state(t, at, "checkpoints")
		return i.State == health.Degraded && strings.Contains(i.Detail, "can change that copy") && i.Advice != ""
	})
}

func TestNoRecipientIsNotHealthy(t *testing.T) {
	at := free(t)
	newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\n").serve()
	until(t, "health says that nothing can be proven", func() bool {
		code, body := get(t, "http://"+at+"/healthz")
		return code == 200 && strings.Contains(body, `"name":"checkpoints","state":"failed"`) // it serves all the same
	})
	if code, body := get(t, "http://"+at+"/livez"); code != 200 || body != "ok\n" {
		t.Errorf("alive: %d %q", code, body)
	}
	if i := state(t, at, "checkpoints"); i.State != health.Failed || i.Advice == "" {
		t.Errorf("%+v", i)
	}
}

func TestAddressInUseGivesEverythingBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+l.Addr().String()+"'}\n")
	if _, err := server.New(t.Context(), h.cfg, slog.New(slog.DiscardHandler), "test"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error is %v", err)
	}
	h.configure("")
	h.serve()
}

func TestSensorWithoutInterfaceStopsNothing(t *testing.T) {
	at := free(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\nnetwork: {sensors: [{interface: nowhere0}]}\n")
	stop := h.serve()
	until(t, "the sensor has failed", func() bool { return state(t, at, "sensor nowhere0").State == health.Failed })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestCheckWithoutCredential: outside of the service there is no systemd credential, and a check there is of all else.
func TestCheckWithoutCredential(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	h.cfg.Keys.Unlock = "credential:chaperone"
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if err := server.Check(h.cfg); err != nil {
		t.Errorf("from a shell: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
	if err := server.Check(h.cfg); err == nil || !strings.Contains(err.Error(), "unlock") {
		t.Errorf("in the service, which was given none: %v", err)
	}
}

func TestCheckSaysEverything(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	if err := server.Check(h.cfg); err != nil {
		t.Fatal(err)
	}
	h.configure(`ledger: {checkpoints: ["pigeon:x"]}
gateways: [{id: g, kind: xmpp, domain: d.example, listen: [{address: "127.0.0.1:0", certificate: no.pem, key: no.key}], upstream: {address: "127.0.0.1:1", ca: policy.yaml}}]
network: {resolver: {listen: ["127.0.0.1:0"], upstream: ["127.0.0.1:1"], rewrite: {a.example: nonsense}}}
alerts: {syslog: ["pigeon:x"], webhooks: ["ftp://x"], mail: {server: "x:25", from: "a@b.example", to: ["a@b.example"], password: "file:none"}}
`)
	h.write("people.csv", "nonsense\n")
	h.write("policy.yaml", "rules: 1\n")
	err := server.Check(h.cfg)
	if err == nil {
		t.Fatal("all of it is fine")
	}
	for _, want := range []string{"policy", "people", "pigeon", "no.pem", "holds no certificate", "rewrite a.example", "alerts", "webhooks", "none"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "people: people:") {
		t.Errorf("it says a word twice:\n%v", err)
	}
}

// TestFullDisk fills the disk under a running server: what cannot be recorded is refused and health says so, and with room it is well again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("a small file system cannot be mounted: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	at := free(t)
	h := newHouse(t, filepath.Join(dir, "h"), "metrics: {listen: '"+at+"'}\n")
	stop := h.serve()
	if i := state(t, at, "disk"); i.State != health.Failed {
		t.Errorf("24 MiB are room enough: %+v", i)
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<12); ; {
		if _, err := f.Write(chunk); err != nil {
			break
		}
	}
	f.Close()
	_, err = h.do("account.create", server.AccountArgs{Name: "late", Roles: []control.Role{control.Reviewer}})
	if err == nil {
		t.Error("an act was done that could not be recorded")
	}
	if list, err := h.do("account.list", struct{}{}); err != nil || strings.Contains(list, "late") {
		t.Errorf("%s %v", list, err)
	}
	until(t, "health says that recording failed", func() bool {
		syscall.Kill(os.Getpid(), syscall.SIGHUP) // each makes an act, until the last page of the segment is full
		return state(t, at, "journal").State == health.Failed
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "recording works again", func() bool { return state(t, at, "journal").State == health.OK })
	h.must("account.create", server.AccountArgs{Name: "late", Roles: []control.Role{control.Reviewer}})
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestStopBeforeStart(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := server.New(ctx, h.cfg, slog.New(slog.DiscardHandler), "test")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Run(ctx, func() { t.Error("it was ready") }); err != nil {
		t.Error(err)
	}
}

// TestLostAccountsAreSaid: a journal with records and no accounts is no new installation.
func TestLostAccountsAreSaid(t *testing.T) {
	at := free(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\n")
	h.record(wrote(time.Now().UTC(), "alice", "hello"))
	if err := os.Remove(h.path("data/state/accounts.json")); err != nil {
		t.Fatal(err)
	}
	h.serve()
	until(t, "health says that accounts are lost", func() bool {
		_, body := get(t, "http://"+at+"/healthz")
		return strings.Contains(body, "accounts.json is missing") && strings.Contains(body, "chaperone account create")
	})
	h.must("account.create", server.AccountArgs{Name: "newadmin", Roles: []control.Role{control.Administrator}})
	until(t, "there are accounts again", func() bool { return state(t, at, "accounts").State == health.OK })
}

// TestReloadTakesPeopleToo: policy and people come into force together, or neither does, and both are on record.
func TestReloadTakesPeopleToo(t *testing.T) {
	at := free(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\n")
	h.serve()
	version := func() string { return state(t, at, "policy").Detail }
	before := version()
	policy, err := os.ReadFile(h.path("policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	hup := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	h.write("policy.yaml", string(policy)+"# changed\n")
	h.write("people.csv", "person,handle,nonsense\n\"")
	hup()
	until(t, "the broken table is said", func() bool { return state(t, at, "people").State == health.Degraded })
	if version() != before {
		t.Errorf("the policy of a reload that failed is in force: %s, before %s", version(), before)
	}
	h.write("people.csv", "person,handle\nalice,alice@example.org\n")
	hup()
	until(t, "both are in force", func() bool { return state(t, at, "people").State == health.OK && version() != before })
	until(t, "both reloads are on record", func() bool { return h.acts("policy.kept") == 1 && h.acts("policy.reload") == 1 })
}
