package santa_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/santa"
)

// keeper keeps what is recorded or observed; while broken it refuses.
type keeper struct {
	mu     sync.Mutex
	events []*event.Event
	broken bool
}

func (k *keeper) Record(_ context.Context, events ...*event.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken {
		return errors.New("the disk is full")
	}
	k.events = append(k.events, events...)
	return nil
}

func (k *keeper) Observe(e *event.Event) { _ = k.Record(context.Background(), e) }

func (k *keeper) take() []*event.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.events
	k.events = nil
	return out
}

func (k *keeper) setBroken(b bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = b
}

// people knows whose machine mac-a is.
type people struct{}

func (people) Party(string, string, time.Time) event.Party { return event.Party{} }

func (people) Host(name, _ string, _ time.Time) event.Host {
	if strings.HasPrefix(name, "mac-a") {
		return event.Host{Name: name, Person: "alice"}
	}
	return event.Host{Name: name}
}

func (people) Groups(person string) ([]string, bool) {
	if person == "alice" {
		return []string{"traders"}, true
	}
	return nil, false
}

const (
	idA, tokenA = "A4B5C6D7-FEED-FACE-BEEF-123456789ABC", "token-of-machine-a-0123456789"
	idB, tokenB = "B4B5C6D7-FEED-FACE-BEEF-123456789ABC", "token-of-machine-b-0123456789"
	denied      = "2222222222222222222222222222222222222222222222222222222222222222"
	noneText    = "version: 1\nrules:\n  - {id: chat, apps: [slack], verdict: allow}\n  - {id: none, apps: ['*'], verdict: block, say: 'Use the chat of the firm.'}\n"
)

// rig is a sync server.
type rig struct {
	*santa.Server
	dir               string
	cfg               santa.Config
	found, seen, acts *keeper
	board             *health.Board
	mu                sync.Mutex
	policy            *policy.Policy
	catalog           *catalog.Catalog
	stop              func()
}

func newRig(t testing.TB, change ...func(*santa.Config)) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), found: &keeper{}, seen: &keeper{}, acts: &keeper{}, board: health.NewBoard(time.Now)}
	var err error
	if r.catalog, err = catalog.Default(); err != nil {
		t.Fatal(err)
	}
	r.set(t, noneText)
	tokens := filepath.Join(r.dir, "tokens")
	if err := os.WriteFile(tokens, []byte("# machines\n"+idA+" "+tokenA+"\n"+idB+"\t"+tokenB+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cfg = santa.Config{Listen: "127.0.0.1:0", Tokens: tokens, Data: filepath.Join(r.dir, "data"), Keys: r.dir}
	for _, c := range change {
		c(&r.cfg)
	}
	r.start(t)
	t.Cleanup(func() { r.stop() })
	return r
}

// set has another policy in force.
func (r *rig) set(t testing.TB, text string) {
	t.Helper()
	f, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(f, policy.Known{})
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy = p
}

func (r *rig) start(t testing.TB) {
	t.Helper()
	s, err := santa.New(r.cfg, santa.Deps{Rules: func(event.Host) (*policy.Policy, *catalog.Catalog, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.policy, r.catalog, nil
	}, Directory: people{}, Recorder: r.found, Observer: r.seen, Acts: r.acts, Board: r.board, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// mac returns a machine that trusts the server.
func (r *rig) mac(t *testing.T, id, token string, certs ...tls.Certificate) *mac {
	t.Helper()
	authority, err := os.ReadFile(filepath.Join(r.dir, "santa.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
	t.Cleanup(transport.CloseIdleConnections)
	return &mac{t: t, messages: protocol(t), http: &http.Client{Transport: transport}, base: "https://" + r.Addr().String(), id: id, token: token, encoding: "deflate", rules: map[[2]string]string{}}
}

func blocked(decision string, more ...string) map[string]any {
	e := map[string]any{"file_sha256": denied, "file_path": "/Applications/Telegram.app/Contents/MacOS", "file_name": "Telegram", "executing_user": "alice", "execution_time": 1764072000.25,
		"decision": decision, "team_id": "6N38VWS5BX", "signing_id": "6N38VWS5BX:ru.keepcoder.Telegram", "file_bundle_version_string": "11.1", "pid": 42,
		"signing_chain": []any{map[string]any{"sha256": denied, "cn": "Developer ID Application: Telegram FZ-LLC (6N38VWS5BX)", "org": "Telegram FZ-LLC", "ou": "6N38VWS5BX", "valid_from": 1, "valid_until": 2}},
		"csFlags":       570514193, "signingStatus": "SIGNING_STATUS_PRODUCTION"}
	for i := 0; i+1 < len(more); i += 2 {
		e[more[i]] = more[i+1]
	}
	return e
}

// must syncs, and says how it went.
func must(t *testing.T, m *mac, kind string, clean bool, events ...map[string]any) {
	t.Helper()
	if err := m.sync(clean, events...); err != nil || m.kind != kind {
		t.Errorf("sync is %s, %v; want %s", m.kind, err, kind)
	}
}

func actions(events []*event.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.Act.Action)
	}
	return strings.Join(out, " ")
}

// TestSync: a machine begins clean, keeps what it has while the policy stands, and follows the policy when it changes, to nothing too.
func TestSync(t *testing.T) {
	r := newRig(t)
	m := r.mac(t, idA, tokenA)
	must(t, m, "CLEAN", false)
	if m.rules[[2]string{"TEAMID", "6N38VWS5BX"}] != "BLOCKLIST" || m.rules[[2]string{"TEAMID", "BQR82RBBHL"}] != "" {
		t.Errorf("rules %v", m.rules)
	}
	if got := actions(r.acts.take()); got != "santa.machine santa.rules" {
		t.Errorf("acts %s", got)
	}
	must(t, m, "NORMAL", false)
	must(t, m, "CLEAN", true)
	before := len(m.rules)
	r.set(t, noneText+"  - {id: bad, programs: {sha256: ["+denied+"]}, verdict: block}\n")
	must(t, m, "CLEAN", false)
	if len(m.rules) != before+1 || m.rules[[2]string{"BINARY", denied}] != "BLOCKLIST" {
		t.Errorf("%d rules after %d", len(m.rules), before)
	}
	r.set(t, strings.Replace(noneText, "version: 1", "version: 1\nmode: monitor", 1))
	must(t, m, "CLEAN", false)
	must(t, m, "NORMAL", false)
	if len(m.rules) != 0 {
		t.Errorf("a policy that only watches leaves %v", m.rules)
	}
	if got := actions(r.acts.take()); got != "santa.rules santa.rules santa.rules" {
		t.Errorf("acts %s", got)
	}
}

// TestPolicyOfOneMachine: groups are obeyed, by the machine and by whose it is.
func TestPolicyOfOneMachine(t *testing.T) {
	r := newRig(t)
	r.set(t, "version: 1\ngroups: {sales: {people: [alice]}}\nrules:\n  - {id: may, apps: [telegram], groups: [sales], verdict: allow}\n  - {id: none, apps: ['*'], verdict: block}\n")
	a, b := r.mac(t, idA, tokenA), r.mac(t, idB, tokenB)
	must(t, a, "CLEAN", false)
	must(t, b, "CLEAN", false)
	telegram := [2]string{"TEAMID", "6N38VWS5BX"}
	if a.rules[telegram] != "" || b.rules[telegram] != "BLOCKLIST" {
		t.Errorf("telegram: alice %q, others %q", a.rules[telegram], b.rules[telegram])
	}
}

// TestGroupsOfTheDirectory: a group whose members the people directory gives holds for the rules of a machine, and for what it reports.
func TestGroupsOfTheDirectory(t *testing.T) {
	r := newRig(t)
	r.set(t, "version: 1\ngroups: {traders: {}}\nrules:\n  - {id: may, apps: [telegram], groups: [traders], verdict: allow}\n  - {id: none, apps: ['*'], verdict: block}\n")
	a, b := r.mac(t, idA, tokenA), r.mac(t, idB, tokenB)
	telegram := [2]string{"TEAMID", "6N38VWS5BX"}
	must(t, a, "CLEAN", false, blocked("BLOCK_TEAMID"))
	must(t, b, "CLEAN", false, blocked("BLOCK_TEAMID"))
	if a.rules[telegram] != "" || b.rules[telegram] != "BLOCKLIST" {
		t.Errorf("telegram: alice %q, others %q", a.rules[telegram], b.rules[telegram])
	}
	want := map[string]string{"alice": "may", "": "none"}
	for _, e := range r.found.take() {
		if e.Verdict.Rule != want[e.Host.Person] || e.From.Person != e.Host.Person || (len(e.From.Groups) > 0) != (e.Host.Person != "") {
			t.Errorf("%s: rule %s, from %+v", e.Host.Name, e.Verdict.Rule, e.From)
		}
		delete(want, e.Host.Person)
	}
	if len(want) > 0 {
		t.Errorf("not on record: %v", want)
	}
}

// TestPages: many rules come in pages of one set, and a set that is gone has none.
func TestPages(t *testing.T) {
	r := newRig(t)
	var sums []string
	for i := range 1200 {
		sums = append(sums, fmt.Sprintf("%064x", i+1))
	}
	r.set(t, "version: 1\nrules: [{id: bad, programs: {sha256: ["+strings.Join(sums, ", ")+"]}, verdict: block}]\n")
	m := r.mac(t, idA, tokenA)
	m.short = 1
	must(t, m, "CLEAN", false)
	if m.pages != 3 || len(m.rules) != 1199 {
		t.Errorf("%d pages, %d rules", m.pages, len(m.rules))
	}
	m.short = 0
	must(t, m, "CLEAN", false) // one was not taken
	must(t, m, "NORMAL", false)
	if len(m.rules) != 1200 {
		t.Errorf("%d rules", len(m.rules))
	}
	if _, err := m.post("ruledownload", "RuleDownloadResponse", map[string]any{}); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("rules outside of a sync: %v", err)
	}
	if _, err := m.post("preflight", "PreflightResponse", map[string]any{"hostname": "mac-a", "request_clean_sync": true}); err != nil {
		t.Fatal(err)
	}
	for _, cursor := range []string{"x", "x:500", strings.Repeat("0", 32) + ":500", ":", "-1"} {
		if _, err := m.post("ruledownload", "RuleDownloadResponse", map[string]any{"cursor": cursor}); err == nil || !strings.Contains(err.Error(), "409") {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// TestReports: what was stopped, and what should have been, becomes a record with machine and person; what was let run is seen; nothing twice.
func TestReports(t *testing.T) {
	r := newRig(t)
	m := r.mac(t, idA, tokenA)
	m.encoding = "gzip"
	upload := []map[string]any{
		blocked("BLOCK_TEAMID"), blocked("ALLOW_UNKNOWN", "file_name", "Telegram2"), blocked("BUNDLE_BINARY"), blocked("BLOCK_SURPRISE"),
		blocked("ALLOW_BINARY", "team_id", "", "signing_id", "", "file_name", "vi"), blocked("BLOCK_CDHASH", "team_id", "", "signing_id", "", "file_name", "cc"), {"file_sha256": 7},
	}
	must(t, m, "CLEAN", false, upload...)
	got := r.found.take()
	if len(got) != 5 || len(r.seen.take()) != 1 {
		t.Fatalf("%d records: %v", len(got), got)
	}
	e := got[0]
	if e.Kind != event.ProgramRun || e.Host.Name != "mac-a.example.org" || e.Host.Person != "alice" || e.From.Handle != "alice@mac-a.example.org" || e.From.Person != "alice" ||
		e.Connector != "santa" || !e.Time.Equal(time.UnixMilli(1764072000250)) {
		t.Errorf("%+v", e)
	}
	if p := e.Program; p.App != "telegram" || p.Path != "/Applications/Telegram.app/Contents/MacOS/Telegram" || p.SHA256 != denied || p.Confidence != event.Exact || p.Version != "11.1" ||
		!strings.Contains(p.Publisher, "O=Telegram FZ-LLC") {
		t.Errorf("%+v", p)
	}
	if v := e.Verdict; v.Action != event.Block || v.Rule != "none" || !v.Enforced || len(e.Evidence) == 0 {
		t.Errorf("%+v, evidence %v", v, e.Evidence)
	}
	if v := got[1].Verdict; v.Action != event.Block || v.Enforced || got[1].Explanation != "Santa let it run (ALLOW_UNKNOWN)" {
		t.Errorf("let run: %+v, %s", v, got[1].Explanation)
	}
	if got[2].Kind != event.Gap || got[2].Reason != event.ReasonUndecodable || !bytes.Contains(got[2].Raw, []byte("BLOCK_SURPRISE")) || got[4].Kind != event.Gap {
		t.Errorf("undecodable: %+v, %+v", got[2], got[4])
	}
	if got[3].Verdict.Action != event.Allow || !strings.Contains(got[3].Explanation, "does not ask for") {
		t.Errorf("stopped by a rule of its own: %+v", got[3])
	}
	if _, err := m.post("eventupload", "EventUploadResponse", map[string]any{"events": upload[:2]}); err != nil {
		t.Fatal(err)
	}
	if again := r.found.take(); len(again) != 0 {
		t.Errorf("sent again in the next sync: %d records", len(again))
	}
}

// TestUploadedAgain: an execution that a machine uploads again, because no answer reached it, is one record: in another batch, with others, in the next
// sync and after a restart. The same file started again is another one.
func TestUploadedAgain(t *testing.T) {
	r := newRig(t)
	m := r.mac(t, idA, tokenA)
	at := func(second float64) map[string]any {
		e := blocked("BLOCK_TEAMID")
		e["execution_time"] = 1764072000 + second
		return e
	}
	upload := func(want int, events ...map[string]any) {
		t.Helper()
		if _, err := m.post("eventupload", "EventUploadResponse", map[string]any{"events": events}); err != nil {
			t.Fatal(err)
		}
		if got := len(r.found.take()); got != want {
			t.Errorf("%d records, want %d", got, want)
		}
	}
	must(t, m, "CLEAN", false)
	upload(1, at(1))
	upload(1, at(1), at(2))
	upload(1, at(1), at(3), at(2))
	must(t, m, "NORMAL", false)
	upload(0, at(3), at(2), at(1))
	r.stop()
	r.start(t)
	m = r.mac(t, idA, tokenA)
	upload(1, at(3), at(4))
	other := r.mac(t, idB, tokenB)
	must(t, other, "CLEAN", false)
	if r.found.take(); other.sync(false, at(1)) != nil || len(r.found.take()) != 1 {
		t.Error("what another machine reports is not recorded")
	}
	var many []map[string]any
	for i := range 900 {
		many = append(many, at(float64(100+i)))
	}
	upload(900, many...)
	upload(0, many...)
}

// TestNothingIsAnsweredThatIsNotOnRecord: a machine whose events or rules could not be recorded sends again.
func TestNothingIsAnsweredThatIsNotOnRecord(t *testing.T) {
	r := newRig(t)
	m := r.mac(t, idA, tokenA)
	r.acts.setBroken(true)
	if err := m.sync(false); err == nil || !strings.Contains(err.Error(), "preflight: 503") {
		t.Errorf("taken in without a record: %v", err)
	}
	r.acts.setBroken(false)
	r.found.setBroken(true)
	if err := m.sync(false, blocked("BLOCK_TEAMID")); err == nil || !strings.Contains(err.Error(), "eventupload: 503") {
		t.Errorf("answered without a record: %v", err)
	}
	r.found.setBroken(false)
	must(t, m, "CLEAN", false, blocked("BLOCK_TEAMID"))
	if n := len(r.found.take()); n != 1 {
		t.Errorf("%d records", n)
	}
}

// TestRestart: a server that starts again knows what its machines have.
func TestRestart(t *testing.T) {
	r := newRig(t)
	must(t, r.mac(t, idA, tokenA), "CLEAN", false)
	r.stop()
	r.acts.take()
	r.start(t)
	m := r.mac(t, idA, tokenA)
	if _, err := m.post("ruledownload", "RuleDownloadResponse", map[string]any{}); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("in the middle of a sync: %v", err)
	}
	must(t, m, "NORMAL", false)
	if acts := actions(r.acts.take()); acts != "" {
		t.Errorf("acts %s", acts)
	}
	if r.board.State("santa") != health.OK {
		t.Errorf("health %v", r.board.Items())
	}
}

// TestRemovable: a policy that stops programs on sticks has them mounted so that nothing on them runs.
func TestRemovable(t *testing.T) {
	r := newRig(t)
	r.set(t, "version: 1\nrules: [{id: sticks, programs: {media: removable}, verdict: block}]\n")
	m := r.mac(t, idA, tokenA)
	pre, err := m.post("preflight", "PreflightResponse", map[string]any{"hostname": "mac-a"})
	if err != nil {
		t.Fatal(err)
	}
	if !get(pre, "block_usb_mount").Bool() || get(pre, "remount_usb_mode").List().Len() != 1 {
		t.Errorf("%v", pre)
	}
}

// TestBodies: bodies are bounded before and after they are unpacked, and are of the machine that sends them.
func TestBodies(t *testing.T) {
	r := newRig(t)
	h := r.Handler()
	long := append([]byte(`{"hostname":"`), append(bytes.Repeat([]byte("a"), 9<<20), `"}`...)...)
	many := []byte(`{"events":[` + strings.Repeat("{},", 1000) + `{}]}`)
	for _, c := range []struct {
		why, stage, media, encoding string
		body                        []byte
		want                        int
	}{
		{"a good one", "preflight", "application/json; charset=utf-8", "", []byte(`{"hostname":"x","new_field":{"a":[1]},"binary_rule_count":"7"}`), 200},
		{"gzip", "preflight", "application/json", "gzip", packed(t, "gzip", []byte(`{}`)), 200},
		{"a bomb", "preflight", "application/json", "gzip", packed(t, "gzip", long), 413},
		{"a bomb of zlib", "preflight", "application/json", "deflate", packed(t, "deflate", long), 413},
		{"too long", "preflight", "application/json", "", long, 413},
		{"too many events", "eventupload", "application/json", "", many, 413},
		{"no gzip", "preflight", "application/json", "gzip", []byte("{}"), 400},
		{"cut off", "preflight", "application/json", "deflate", packed(t, "deflate", []byte(`{"hostname":"x"}`))[:12], 400},
		{"no JSON", "preflight", "application/json", "", []byte("{"), 400},
		{"another type", "preflight", "application/json", "", []byte(`{"hostname":7}`), 400},
		{"protobuf", "preflight", "application/x-protobuf", "", []byte("\n"), 415},
		{"brotli", "preflight", "application/json", "br", []byte("x"), 415},
		{"of another machine", "postflight", "application/json", "", []byte(`{"machine_id":"` + idB + `"}`), 400},
	} {
		q := httptest.NewRequest(http.MethodPost, "/"+c.stage+"/"+idA, bytes.NewReader(c.body))
		q.Header.Set("Content-Type", c.media)
		q.Header.Set("Content-Encoding", c.encoding)
		q.Header.Set("Authorization", "Bearer "+tokenA)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, q); w.Code != c.want {
			t.Errorf("%s: %d %s, want %d", c.why, w.Code, w.Body.String(), c.want)
		}
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/preflight/"+idA, http.NoBody)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

func TestTooManyMachines(t *testing.T) {
	r := newRig(t, func(c *santa.Config) { c.MaxMachines = 1 })
	must(t, r.mac(t, idA, tokenA), "CLEAN", false)
	if err := r.mac(t, idB, tokenB).sync(false); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
}

// FuzzStages sends anything to a stage: it is answered, and what becomes a record names no other machine.
func FuzzStages(f *testing.F) {
	f.Add(uint8(0), "", []byte(`{"hostname":"x","request_clean_sync":true}`))
	f.Add(uint8(1), "", []byte(`{"events":[{"file_sha256":"`+denied+`","decision":"BLOCK_BINARY","execution_time":"1e9","pid":-1}]}`))
	f.Add(uint8(2), "gzip", packed(f, "gzip", []byte(`{"cursor":"a:1"}`)))
	f.Add(uint8(3), "deflate", packed(f, "deflate", []byte(`{"rules_received":1e99,"rules_processed":"NaN"}`)))
	r := newRig(f)
	h := r.Handler()
	f.Fuzz(func(t *testing.T, stage uint8, encoding string, body []byte) {
		name := []string{"preflight", "eventupload", "ruledownload", "postflight"}[stage%4]
		q := httptest.NewRequest(http.MethodPost, "/"+name+"/"+idB, bytes.NewReader(body))
		q.Header.Set("Content-Type", "application/json")
		q.Header["Content-Encoding"] = []string{encoding}
		q.Header.Set("Authorization", "Bearer "+tokenB)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		if w.Code == http.StatusInternalServerError || w.Code == 0 {
			t.Errorf("%s: %d", name, w.Code)
		}
		for _, e := range append(r.found.take(), r.seen.take()...) {
			if e.Host.Person != "" && !strings.HasPrefix(e.Host.Name, "mac-a") || e.ID == "" || e.Time.After(time.Now().Add(time.Hour)) {
				t.Errorf("%+v", e)
			}
		}
		r.acts.take()
	})
}

// BenchmarkPreflight is what each sync of a machine costs: its rules are made anew.
func BenchmarkPreflight(b *testing.B) {
	r := newRig(b)
	h := r.Handler()
	for b.Loop() {
		q := httptest.NewRequest(http.MethodPost, "/preflight/"+idA, strings.NewReader(`{"hostname":"mac-a"}`))
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("Authorization", "Bearer "+tokenA)
		h.ServeHTTP(httptest.NewRecorder(), q)
	}
}
