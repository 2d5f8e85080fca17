package rollout_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// maker signs bundles.
type maker struct{ secret, verifier string }

func newMaker(t *testing.T) maker {
	t.Helper()
	secret, verifier, err := bundle.NewKey("catalog.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return maker{secret, verifier}
}

// birds is a catalog of one messenger with those names.
func birds(names string) fs.FS {
	return fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\nnames: {service: [" + names + "]}\n")}}
}

func (m maker) bundle(t *testing.T, serial uint64, files fs.FS) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := bundle.Pack(&b, files, bundle.Info{Serial: serial, Created: now.Add(-time.Hour), Expires: now.AddDate(0, 1, 0)}, m.secret); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDepotStory: a catalog is accepted, tried, taken into use for a group, for all, and taken back.
func TestDepotStory(t *testing.T) {
	m := newMaker(t)
	d := rollout.OpenDepot(t.TempDir(), []string{m.verifier})
	want := func(inForce, candidate uint64, stage rollout.Stage) {
		t.Helper()
		s, err := d.State()
		if err != nil || s.InForce != inForce || s.Candidate != candidate || s.Stage != stage {
			t.Errorf("%+v, %v; want %d in force, %d in %q", s, err, inForce, candidate, stage)
		}
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want(0, 0, rollout.None)
	must(d.Accept(t.Context(), m.bundle(t, 5, birds("pigeon.example")), now))
	want(0, 5, rollout.Fetched)
	if _, err := d.Promote(false, now); !errors.Is(err, rollout.ErrNoCandidate) {
		t.Errorf("promoted without a trial: %v", err)
	}
	must(d.Stage(0, now))
	want(0, 5, rollout.Shadow)
	must(d.Promote(true, now))
	want(0, 5, rollout.Canary)
	must(d.Promote(true, now))
	want(5, 0, rollout.None)
	must(d.Accept(t.Context(), m.bundle(t, 6, birds("pigeon.example, dove.example")), now))
	must(d.Stage(6, now))
	must(d.Accept(t.Context(), m.bundle(t, 7, birds("dove.example")), now)) // it waits
	want(5, 6, rollout.Shadow)
	if _, err := d.Stage(7, now); !errors.Is(err, rollout.ErrWatched) {
		t.Errorf("two trials: %v", err)
	}
	must(d.Rollback(-1, "no good", now))
	want(5, 0, rollout.None)
	must(d.Stage(7, now))
	must(d.Promote(false, now))
	want(7, 0, rollout.None)
	if s, _ := d.State(); s.Promoted.IsZero() {
		t.Error("what was promoted is not watched")
	}
	must(d.Rollback(-1, "no better", now))
	want(5, 0, rollout.None)
	if s, _ := d.State(); !s.Promoted.IsZero() {
		t.Error("what came back is watched, and could be taken back in its turn")
	}
	must(d.Rollback(0, "back to the beginning", now))
	want(0, 0, rollout.None)
	if _, err := d.Rollback(-1, "further", now); err == nil {
		t.Error("went back behind the built-in catalog")
	}
	if s, _ := d.State(); s.Highest != 7 || s.Refused == nil || s.Refused.Reason != "back to the beginning" {
		t.Errorf("%+v", s)
	}
}

// TestAcceptRefuses: what is old, expired, not trusted or fails its own test is not kept, and the reason is.
func TestAcceptRefuses(t *testing.T) {
	m, stranger := newMaker(t), newMaker(t)
	for _, c := range []struct {
		name string
		b    []byte
		at   time.Time
		err  error
		text string
	}{
		{"the same again", m.bundle(t, 3, birds("pigeon.example")), now, rollout.ErrOld, "number 3 was accepted"},
		{"an older one", m.bundle(t, 2, birds("pigeon.example")), now, rollout.ErrOld, "it is number 2"},
		{"expired", m.bundle(t, 4, birds("pigeon.example")), now.AddDate(0, 2, 0), rollout.ErrExpired, "on 2026-12-25"},
		{"from the future", m.bundle(t, 4, birds("pigeon.example")), now.AddDate(0, 0, -3), nil, "yet to come"},
		{"a stranger's", stranger.bundle(t, 4, birds("pigeon.example")), now, bundle.ErrUntrusted, ""},
		{"no bundle", []byte("no bundle"), now, bundle.ErrNotBundle, ""},
		{"fails lint", m.bundle(t, 4, birds("com")), now, rollout.ErrFailsItsTest, "it would catch a whole top-level domain"},
		{"does not load", m.bundle(t, 4, fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: dove\n")}}), now, nil, "must be the name of the file"},
		{"a bomb", m.bundle(t, 4, fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: &a [x]\nsources: [*a, *a]\n")}}), now, nil, "anchors"},
		{"a sample is not recognised", m.bundle(t, 4, fstest.MapFS{
			"apps/pigeon.yaml":           {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\nnames: {service: [pigeon.example]}\n")},
			"samples/pigeon/labels.yaml": {Data: []byte("captures: [{file: a.pcap, made: \"2026-11\", flows: [{count: 1}]}]\n")},
			"samples/pigeon/a.pcap":      {Data: []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00")},
		}), now, rollout.ErrFailsItsTest, "0 flows are recognised"},
	} {
		dir := t.TempDir()
		d := rollout.OpenDepot(dir, []string{m.verifier})
		if _, err := d.Accept(t.Context(), m.bundle(t, 3, birds("pigeon.example")), now); err != nil {
			t.Fatal(err)
		}
		_, err := d.Accept(t.Context(), c.b, c.at)
		if err == nil || c.err != nil && !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
		s, _ := d.State()
		if kept := d.Kept(); len(kept) != 1 || s.Highest != 3 {
			t.Errorf("%s: kept %v, %+v", c.name, kept, s)
		}
		if noted := s.Refused != nil; noted == (c.name == "the same again") {
			t.Errorf("%s: refusal noted: %v", c.name, noted)
		}
	}
}

// TestTamperedOnDisk: a bundle that was changed after it was accepted is not loaded, nor is one whose key is no longer trusted.
func TestTamperedOnDisk(t *testing.T) {
	m := newMaker(t)
	dir := t.TempDir()
	d := rollout.OpenDepot(dir, []string{m.verifier})
	if _, err := d.Accept(t.Context(), m.bundle(t, 3, birds("pigeon.example")), now); err != nil {
		t.Fatal(err)
	}
	if c, _, err := d.Load(3); err != nil || len(c.Apps()) != 1 {
		t.Fatal(err)
	}
	if _, _, err := rollout.OpenDepot(dir, nil).Load(3); !errors.Is(err, bundle.ErrUntrusted) {
		t.Error(err)
	}
	path := filepath.Join(dir, "state", "catalog", "3.bundle")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Load(3); err == nil {
		t.Error("a changed bundle was loaded")
	}
	if err := os.Rename(path, filepath.Join(dir, "state", "catalog", "4.bundle")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Load(4); err == nil {
		t.Error("a bundle was loaded under another number")
	}
}

// TestSweep: old bundles go, those in use stay.
func TestSweep(t *testing.T) {
	m := newMaker(t)
	d := rollout.OpenDepot(t.TempDir(), []string{m.verifier})
	for serial := range uint64(8) {
		if _, err := d.Accept(t.Context(), m.bundle(t, serial+1, birds("pigeon.example")), now); err != nil {
			t.Fatal(err)
		}
		if serial == 0 {
			if _, err := d.Stage(1, now); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Promote(false, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if kept := d.Kept(); len(kept) != 5 || kept[0] != 1 {
		t.Errorf("kept %v", kept)
	}
}

// TestNothingChangesUntold: when an act cannot be recorded, nothing changes.
func TestNothingChangesUntold(t *testing.T) {
	m := newMaker(t)
	d := rollout.OpenDepot(t.TempDir(), []string{m.verifier})
	if _, err := d.Accept(t.Context(), m.bundle(t, 3, birds("pigeon.example")), now); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if _, err := d.Stage(3, now, func(_, _ rollout.State) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	if s, _ := d.State(); s.Stage != rollout.Fetched {
		t.Errorf("%+v", s)
	}
}

// TestFetch: files and addresses are read within bounds; plain http is for this machine only.
func TestFetch(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bundle":
			w.Write([]byte("bytes"))
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/bundle", http.StatusFound)
		case "/endless":
			block := make([]byte, 1<<20)
			for range 40 {
				w.Write(block)
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	path := filepath.Join(t.TempDir(), "x.bundle")
	if err := os.WriteFile(path, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		path: "", srv.URL + "/bundle": "", path + "x": "no such file", srv.URL + "/none": "404", srv.URL + "/away": "https", srv.URL + "/endless": "more than",
		"http://catalog.example.org/x": "http is for this machine only", "ftp://catalog.example.org/x": "a file or an https address", "https://\x00": "invalid",
	} {
		b, err := rollout.Fetch(t.Context(), source)
		if want == "" && (err != nil || string(b) != "bytes") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v", source, b, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rollout.Fetch(ctx, srv.URL+"/bundle"); err == nil {
		t.Error("fetched for nobody")
	}
}
