package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

const password = "correct horse battery"

// house is a folder that quickstart set up, with passwords.
type house struct {
	t   *testing.T
	dir string
	cfg *config.Config
}

func setUp(t *testing.T, dir, profile string) *quickstart.Result {
	t.Helper()
	r, err := quickstart.Write(quickstart.Options{Dir: dir, Profile: profile, Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newHouse sets a folder up; text is its configuration, beside policy, people and keys.
func newHouse(t *testing.T, dir, text string) *house {
	t.Helper()
	setUp(t, dir, "plain")
	h := &house{t: t, dir: dir}
	book, err := account.Open(filepath.Join(dir, "data"), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"admin", "reviewer", "counsel"} {
		if err := book.SetPassword(name, password); err != nil {
			t.Fatal(err)
		}
	}
	policy := h.path("policy.yaml")
	raw, err := os.ReadFile(policy)
	if err != nil {
		t.Fatal(err)
	}
	h.write("policy.yaml", strings.Replace(string(raw), "days: 2190, erasable: no", "days: 30, erasable: request", 1))
	h.configure(text)
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) configure(text string) {
	h.t.Helper()
	h.write("chaperone.yaml", "policy: policy.yaml\npeople: {csv: people.csv}\nkeys: {unlock: \"file:data/keys/passphrase\"}\n"+text)
	var err error
	if h.cfg, err = config.Load(h.path("chaperone.yaml")); err != nil {
		h.t.Fatal(err)
	}
}

// open opens the store as a command does.
func (h *house) open() (*server.Store, *health.Board) {
	h.t.Helper()
	rules, err := server.LoadRules(h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	board := health.NewBoard(time.Now)
	s, err := server.OpenStore(h.t.Context(), h.cfg, rules.Class, board, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	return s, board
}

// record makes events records, while nobody serves.
func (h *house) record(events ...*event.Event) {
	h.t.Helper()
	s, _ := h.open()
	s.Start(h.t.Context())
	if err := errors.Join(s.Recorder.Record(h.t.Context(), events...), s.Close()); err != nil {
		h.t.Fatal(err)
	}
}

// serve runs a server; what it returns stops it.
func (h *house) serve() (stop func() error) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	s, err := server.New(ctx, h.cfg, slog.New(slog.DiscardHandler), "test")
	if err != nil {
		cancel()
		h.t.Fatal(err)
	}
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-done:
		cancel()
		h.t.Fatal(err)
	}
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	h.t.Cleanup(func() { stop() })
	return stop
}

// do asks the running server over its socket.
func (h *house) do(name string, args any) (string, error) {
	var out bytes.Buffer
	err := control.Do(h.t.Context(), h.cfg.Data(), name, args, nil, &out)
	return out.String(), err
}

// must is do, of what has to work.
func (h *house) must(name string, args any) string {
	h.t.Helper()
	out, err := h.do(name, args)
	if err != nil {
		h.t.Fatalf("%s: %v", name, err)
	}
	return out
}

func as(who string) server.Sign {
	return server.Sign{Account: who, Password: password, Purpose: "test"}
}

// hits returns what a reviewer finds.
func (h *house) hits(query string) []search.Hit {
	h.t.Helper()
	var hits []search.Hit
	for d := json.NewDecoder(strings.NewReader(h.must("search", server.SearchArgs{Sign: as("reviewer"), Query: query}))); ; {
		var hit search.Hit
		if err := d.Decode(&hit); errors.Is(err, io.EOF) {
			return hits
		} else if err != nil {
			h.t.Fatal(err)
		}
		hits = append(hits, hit)
	}
}

// acts returns how many acts of that name are on record. Looks for them are acts too, and name what was looked for.
func (h *house) acts(action string) int {
	h.t.Helper()
	n := 0
	for _, hit := range h.hits("kind:act " + action) {
		if strings.HasPrefix(hit.Text, action) {
			n++
		}
	}
	return n
}

func wrote(at time.Time, who, text string) *event.Event {
	return &event.Event{ID: event.NewID(), Kind: event.Message, Time: at, Received: at, Connector: "office", From: event.Party{Handle: who + "@example.org", Person: who},
		Room: event.Room{Name: "desk@rooms.example.org"}, Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}, Content: event.Content{Text: text}}
}

func free(t *testing.T) string {
	t.Helper()
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// until waits for a thing to come true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// state returns an item of the health that a metrics listener serves.
func state(t *testing.T, at, item string) health.Item {
	t.Helper()
	_, body := get(t, "http://"+at+"/healthz")
	var items []health.Item
	if err := json.Unmarshal([]byte(body), &items); err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		if i.Name == item {
			return i
		}
	}
	return health.Item{Detail: fmt.Sprintf("no item %s", item)}
}
