package server_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// aviary makes signed bundles of a catalog of one messenger.
type aviary struct{ secret, verifier string }

func newAviary(t *testing.T) aviary {
	t.Helper()
	secret, verifier, err := bundle.NewKey("catalog.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return aviary{secret, verifier}
}

func (a aviary) bundle(t *testing.T, serial uint64, names string) []byte {
	t.Helper()
	return a.made(t, serial, names, time.Now().Add(-time.Hour))
}

// made makes a bundle of a time.
func (a aviary) made(t *testing.T, serial uint64, names string, at time.Time) []byte {
	t.Helper()
	var files fs.FS = fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\nnames: {service: [" + names + "]}\n")}}
	var b bytes.Buffer
	if _, err := bundle.Pack(&b, files, bundle.Info{Serial: serial, Created: at, Expires: at.AddDate(1, 0, 0)}, a.secret); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const aviaryPolicy = `version: 1
mode: {network: enforce}
groups:
  trial: {networks: [127.0.0.0/8]}
rules:
  - {id: birds, apps: ["*"], verdict: block}
  - {id: must, names: ["*.must.example"], verdict: allow}
otherwise: {network: allow}
`

// status asks for the state of the catalogs.
func (h *house) status() server.CatalogStatus {
	h.t.Helper()
	var s server.CatalogStatus
	if err := json.Unmarshal([]byte(h.must("catalog.status", struct{}{})), &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// send gives a bundle to the running server.
func (h *house) send(b []byte) error {
	var out bytes.Buffer
	return control.Do(h.t.Context(), h.cfg.Data(), "catalog.accept", struct{}{}, bytes.NewReader(b), &out)
}

// blocked asks the resolver for a name and reports whether it is stopped.
func blocked(t *testing.T, resolver, name string) bool {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	c := dns.Client{Net: "tcp", Timeout: time.Minute}
	r, _, err := c.Exchange(m, resolver)
	if err != nil {
		t.Fatal(err)
	}
	return r.Rcode == dns.RcodeNameError
}

// TestCatalogStory: a newer catalog comes signed, is tried in shadow, acts for a group, then for all, and is taken back by itself when it stops
// too much; each step is an act.
func TestCatalogStory(t *testing.T) {
	birds := newAviary(t)
	listener, at := free(t), free(t)
	h := newHouse(t, t.TempDir(), "catalog: {keys: ['"+birds.verifier+"'], canary: trial}\nmetrics: {listen: '"+at+"'}\n"+
		"network: {resolver: {listen: ['"+listener+"'], upstream: ['127.0.0.1:1'], timeout: 100ms}}\n")
	h.write("policy.yaml", aviaryPolicy)
	h.serve()
	if s := h.status(); !s.BuiltIn || s.Stage != rollout.None || state(t, at, "catalog").State != health.OK {
		t.Errorf("%+v", s)
	}
	if err := h.send(birds.bundle(t, 1, "pigeon.example")); err != nil {
		t.Fatal(err)
	}
	h.must("catalog.stage", server.CatalogStageArgs{})
	if blocked(t, listener, "a.pigeon.example") || !blocked(t, listener, "web.whatsapp.com") {
		t.Error("in shadow the new catalog acts")
	}
	if s := h.status(); s.Stage != rollout.Shadow || s.Trial == nil || s.Trial.Stopped != 1 || s.Trial.Passed != 1 {
		t.Errorf("%+v", s)
	}
	h.must("catalog.promote", server.CatalogPromoteArgs{})
	if s := h.status(); s.Stage != rollout.Canary || !blocked(t, listener, "a.pigeon.example") || blocked(t, listener, "web.whatsapp.com") {
		t.Errorf("the new catalog does not act for its group: %+v", s)
	}
	h.must("catalog.promote", server.CatalogPromoteArgs{})
	if s := h.status(); s.InForce != 1 || s.BuiltIn || !blocked(t, listener, "a.pigeon.example") {
		t.Errorf("%+v", s)
	}
	if _, err := h.do("catalog.rollback", server.CatalogRollbackArgs{To: -1}); err == nil {
		t.Error("rolled back without a reason")
	}
	for range 12 { // more than the bound: it is taken back by itself
		blocked(t, listener, "b.pigeon.example")
	}
	until(t, "the catalog is taken back", func() bool { return h.status().BuiltIn })
	if s := h.status(); s.Refused == nil || !strings.Contains(s.Refused.Reason, "newly stops") || blocked(t, listener, "a.pigeon.example") {
		t.Errorf("%+v", s)
	}
	until(t, "health says so", func() bool { return state(t, at, "catalog").State == health.Degraded })
	for action, n := range map[string]int{"catalog.accept": 1, "catalog.stage": 1, "catalog.promote": 2, "catalog.rollback": 1} {
		if got := h.acts(action); got != n {
			t.Errorf("%d acts %s, want %d", got, action, n)
		}
	}
}

// TestCatalogThatBreaksPromises: a catalog that stops a name that the policy spells out does not get beyond the trial.
func TestCatalogThatBreaksPromises(t *testing.T) {
	birds := newAviary(t)
	h := newHouse(t, t.TempDir(), "catalog: {keys: ['"+birds.verifier+"']}\n")
	h.write("policy.yaml", aviaryPolicy)
	h.serve()
	if err := h.send(birds.bundle(t, 1, "must.example")); err != nil {
		t.Fatal(err)
	}
	h.must("catalog.stage", server.CatalogStageArgs{})
	if s := h.status(); len(s.Breaks) != 1 || s.Breaks[0] != "host-1.must.example" {
		t.Errorf("%+v", s)
	}
	if _, err := h.do("catalog.promote", server.CatalogPromoteArgs{All: true}); err == nil || !strings.Contains(err.Error(), "host-1.must.example") {
		t.Errorf("promoted: %v", err)
	}
	h.must("catalog.rollback", server.CatalogRollbackArgs{To: -1, Reason: "it stops our own"})
	if s := h.status(); s.Stage != rollout.None || !s.BuiltIn {
		t.Errorf("%+v", s)
	}
}

// TestCatalogThatThePolicyCannotUse: a catalog without a messenger that the policy names is not taken into use.
func TestCatalogThatThePolicyCannotUse(t *testing.T) {
	birds := newAviary(t)
	h := newHouse(t, t.TempDir(), "catalog: {keys: ['"+birds.verifier+"']}\n")
	h.write("policy.yaml", strings.Replace(aviaryPolicy, "apps: [\"*\"]", "apps: [telegram]", 1))
	h.serve()
	if err := h.send(birds.bundle(t, 1, "pigeon.example")); err != nil {
		t.Fatal(err)
	}
	h.must("catalog.stage", server.CatalogStageArgs{})
	if s := h.status(); !strings.Contains(s.Trouble, "telegram") || !s.BuiltIn {
		t.Errorf("%+v", s)
	}
	if _, err := h.do("catalog.promote", server.CatalogPromoteArgs{}); err == nil || !strings.Contains(err.Error(), "cannot be tried") {
		t.Errorf("promoted: %v", err)
	}
}

// TestCatalogSource: the source is asked at start; what is new and good goes into shadow, what is not is refused and said.
func TestCatalogSource(t *testing.T) {
	birds := newAviary(t)
	var offer atomic.Pointer[[]byte]
	good, bad := birds.bundle(t, 3, "pigeon.example"), birds.bundle(t, 4, "com")
	offer.Store(&good)
	src := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(*offer.Load()) }))
	defer src.Close()
	at := free(t)
	h := newHouse(t, t.TempDir(), "catalog: {keys: ['"+birds.verifier+"'], source: '"+src.URL+"', interval: 1s}\nmetrics: {listen: '"+at+"'}\n")
	h.write("policy.yaml", aviaryPolicy)
	stop := h.serve()
	until(t, "it is in shadow", func() bool { return h.status().Stage == rollout.Shadow })
	if s := h.status(); s.Candidate != 3 || s.Refused != nil {
		t.Errorf("%+v", s)
	}
	offer.Store(&bad)
	until(t, "it is refused", func() bool { return h.status().Refused != nil })
	if s := h.status(); s.Refused.Serial != 4 || !strings.Contains(s.Refused.Reason, "top-level domain") || s.Candidate != 3 {
		t.Errorf("%+v", s)
	}
	h.must("catalog.promote", server.CatalogPromoteArgs{})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	h.serve() // after a restart the same is in force
	if s := h.status(); s.InForce != 3 || s.BuiltIn {
		t.Errorf("%+v", s)
	}
}

// TestCatalogWhoseKeyIsGone: when what is in force can no longer be trusted, the built-in catalog stands in for it, and health says so.
func TestCatalogWhoseKeyIsGone(t *testing.T) {
	birds := newAviary(t)
	at := free(t)
	keys := "catalog: {keys: ['" + birds.verifier + "']}\n"
	h := newHouse(t, t.TempDir(), keys)
	h.write("policy.yaml", aviaryPolicy)
	stop := h.serve()
	if err := h.send(birds.bundle(t, 1, "pigeon.example")); err != nil {
		t.Fatal(err)
	}
	h.must("catalog.stage", server.CatalogStageArgs{})
	h.must("catalog.promote", server.CatalogPromoteArgs{})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	h.configure("metrics: {listen: '" + at + "'}\n")
	h.serve()
	if s := h.status(); !s.BuiltIn || !strings.Contains(s.Trouble, "no key is trusted") || state(t, at, "catalog").State != health.Degraded {
		t.Errorf("%+v", s)
	}
}

// TestCatalogAfterUpgrade: a program whose built-in catalog is newer than the bundle in force takes its own, once, and says so; what is then
// chosen stays.
func TestCatalogAfterUpgrade(t *testing.T) {
	birds := newAviary(t)
	at := free(t)
	h := newHouse(t, t.TempDir(), "catalog: {keys: ['"+birds.verifier+"']}\nmetrics: {listen: '"+at+"'}\n")
	h.write("policy.yaml", aviaryPolicy)
	dir := filepath.Join(h.cfg.Data(), "state", "catalog")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"1.bundle": birds.made(t, 1, "pigeon.example", rollout.Edition().AddDate(0, -1, 0)), "state.json": []byte(`{"highest":1,"in_force":1}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop := h.serve()
	if s := h.status(); !s.BuiltIn || s.Superseded != 1 || h.acts("catalog.upgrade") != 1 {
		t.Errorf("%+v, %d acts", s, h.acts("catalog.upgrade"))
	}
	if x := state(t, at, "catalog"); x.State != health.OK || !strings.Contains(x.Detail, "number 1 is older and gave way") {
		t.Errorf("%+v", x)
	}
	h.must("catalog.rollback", server.CatalogRollbackArgs{To: 1, Reason: "the new one stops our own"})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	h.serve()
	if s := h.status(); s.InForce != 1 || s.BuiltIn || h.acts("catalog.upgrade") != 1 {
		t.Errorf("%+v, %d acts", s, h.acts("catalog.upgrade"))
	}
}

// TestCheckCatalog: config test looks at keys and source.
func TestCheckCatalog(t *testing.T) {
	birds := newAviary(t)
	h := newHouse(t, t.TempDir(), "")
	for text, want := range map[string]string{
		"catalog: {keys: ['" + birds.verifier + "'], source: 'https://catalog.example.org/latest'}\n": "",
		"catalog: {keys: [nonsense]}\n":                                               "nonsense",
		"catalog: {source: latest.bundle}\n":                                          "no key",
		"catalog: {keys: ['" + birds.verifier + "'], source: 'http://x.example/y'}\n": "http is for this machine only",
	} {
		h.configure(text)
		if err := server.Check(h.cfg); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestCatalogDiff: who may read is told which of the things that were seen another catalog would stop.
func TestCatalogDiff(t *testing.T) {
	birds := newAviary(t)
	listener := free(t)
	h := newHouse(t, t.TempDir(), "catalog: {keys: ['"+birds.verifier+"']}\nnetwork: {resolver: {listen: ['"+listener+"'], upstream: ['127.0.0.1:1'], timeout: 100ms}}\n")
	h.write("policy.yaml", aviaryPolicy)
	h.serve()
	blocked(t, listener, "a.pigeon.example")
	blocked(t, listener, "www.example.org")
	blocked(t, listener, "web.whatsapp.com")
	diff := func(who string) (string, error) {
		var out bytes.Buffer
		err := control.Do(h.t.Context(), h.cfg.Data(), "catalog.diff", server.ReplayArgs{Sign: as(who)}, bytes.NewReader(birds.bundle(t, 1, "pigeon.example")), &out)
		return out.String(), err
	}
	var out string
	until(t, "what was seen can be read", func() bool {
		var err error
		if out, err = diff("reviewer"); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(out, "a.pigeon.example") && strings.Contains(out, `"block to allow":1`) && strings.Contains(out, `"observed":2`)
	})
	for _, want := range []string{`"name":"a.pigeon.example"`, `"before":"- allow","after":"pigeon block","rule":"birds","newly_stopped":true`, `"observed":2`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if strings.Contains(out, "www.example.org") {
		t.Errorf("what stays as it is is named:\n%s", out)
	}
	if _, err := diff("admin"); err == nil {
		t.Error("an administrator reads")
	}
}
