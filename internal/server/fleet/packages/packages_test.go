package packages_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server/fleet/packages"
)

// fleetOf is a fleet as a test has it.
type fleetOf struct {
	machines []packages.Machine
	acts     []string
	changed  int
	broken   error // of the record
}

func (f *fleetOf) Machines() []packages.Machine { return f.machines }
func (f *fleetOf) FindHost(name string) (string, error) {
	for _, m := range f.machines {
		if m.Name == name {
			return m.ID, nil
		}
	}
	return "", errors.New("no host of that id or name")
}
func (f *fleetOf) CheckGroup(name string) error {
	if name != "canary" {
		return errors.New("the policy has no such group")
	}
	return nil
}
func (f *fleetOf) Act(_ context.Context, by, action, object string, _ ...event.Fact) error {
	f.acts = append(f.acts, by+" "+action+" "+object)
	return f.broken
}
func (f *fleetOf) Changed() { f.changed++ }

// counter is a shelf with a fleet before it.
type counter struct {
	t     *testing.T
	dir   string
	shelf *packages.Shelf
	fleet *fleetOf
	key   string
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{t: t, dir: filepath.Join(t.TempDir(), "releases"), fleet: &fleetOf{}}
	var err error
	if c.key, _, err = note.GenerateKey(rand.Reader, "release.example.org"); err != nil {
		t.Fatal(err)
	}
	c.open()
	return c
}

func (c *counter) open() {
	c.t.Helper()
	var err error
	if c.shelf, err = packages.Open(c.dir); err != nil {
		c.t.Fatal(err)
	}
}

// do runs an operation and returns its lines.
func (c *counter) do(name string, args any, in string) ([]packages.Line, error) {
	c.t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		c.t.Fatal(err)
	}
	var out bytes.Buffer
	ops := c.shelf.Operations(c.fleet, time.Now)
	i := slices.IndexFunc(ops, func(o control.Operation) bool { return o.Name == name })
	if i < 0 {
		c.t.Fatalf("no operation %s", name)
	}
	if !slices.Equal(ops[i].Needs, []control.Role{control.Administrator}) {
		c.t.Errorf("%s needs %v", name, ops[i].Needs)
	}
	err = ops[i].Run(c.t.Context(), &control.Call{Caller: control.Caller{Account: "admin"}, Args: raw, In: strings.NewReader(in), Out: &out})
	var lines []packages.Line
	for d := json.NewDecoder(&out); d.More(); {
		var l packages.Line
		if err := d.Decode(&l); err != nil {
			c.t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines, err
}

// note signs a package.
func (c *counter) note(version, content string) []byte {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "p")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	m, err := release.Of(path, release.Deb, release.Package, version, "amd64", time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	signed, err := release.Sign(m, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

// TestShelf takes a release from its plan to its end.
func TestShelf(t *testing.T) {
	c := newCounter(t)
	content := strings.Repeat("package ", 20_000)
	signed := c.note("1.6", content)
	id := release.ID(signed)
	up := func(version string) *protocol.Update {
		return &protocol.Update{Format: "deb", Architecture: "amd64", Version: version}
	}
	refused, back, arm := up("1.5"), up("1.5"), up("1.5")
	refused.Refused, refused.Why = id, "not newer"
	back.Release, back.State, back.Error = id, "rolled back", "does not start"
	arm.Architecture = "arm64"
	canary := []string{"canary"}
	c.fleet.machines = []packages.Machine{{ID: "1", Name: "a", Groups: canary, Update: up("1.5"), Online: true}, {ID: "2", Name: "b", Groups: canary, Update: up("1.6")},
		{ID: "3", Name: "c", Groups: canary, Update: refused}, {ID: "4", Name: "d", Groups: canary, Update: back}, {ID: "5", Name: "e", Groups: canary, Update: arm},
		{ID: "6", Name: "f", Groups: canary}, {ID: "7", Name: "g", Update: up("1.5")}}
	args := packages.OfferArgs{Note: signed, Groups: canary}
	planned, err := c.do("fleet.releases.plan", args, "")
	if err != nil || len(planned) != 1 || len(planned[0].Machines) != 6 || len(c.shelf.Offers()) != 0 || len(c.fleet.acts) != 0 {
		t.Fatalf("%+v, %v", planned, err)
	}
	offered, err := c.do("fleet.releases.offer", args, content)
	if err != nil || len(offered) != 1 || c.fleet.changed != 1 || strings.Join(c.fleet.acts, ",") != "admin fleet.release.offer chaperone 1.6" {
		t.Fatalf("%+v, %v, %v", offered, err, c.fleet)
	}
	want := map[string]int{"offered": 1, "installed": 1, "refused": 1, "rolled back": 1, "another system": 1, "takes none": 1}
	for state, n := range want {
		if offered[0].Counts[state] != n {
			t.Errorf("%d machines are %q", offered[0].Counts[state], state)
		}
	}
	c.open() // as after a restart
	for i, m := range c.fleet.machines {
		if _, ok := c.shelf.For(m.ID, m.Update, func() []string { return m.Groups }); ok != (i == 0) {
			t.Errorf("%s is offered it: %v", m.Name, ok)
		}
	}
	if got := c.all(content); got != content {
		t.Errorf("%d bytes of %d come in pieces", len(got), len(content))
	}
	if _, err := c.do("fleet.releases.offer", packages.OfferArgs{Note: signed, Hosts: []string{"g"}}, content); err != nil {
		t.Fatal(err)
	}
	g := c.fleet.machines[6]
	if o, ok := c.shelf.For(g.ID, g.Update, func() []string { return nil }); !ok || !slices.Equal(o.Groups, canary) {
		t.Errorf("more machines: %+v, %v", o, ok)
	}
	if lines, err := c.do("fleet.releases", packages.StatusArgs{ID: id[:12]}, ""); err != nil || len(lines) != 1 || len(lines[0].Machines) != 7 {
		t.Errorf("%+v, %v", lines, err)
	}
	if _, err := c.do("fleet.releases.withdraw", packages.WithdrawArgs{ID: id[:12]}, ""); err == nil {
		t.Error("withdrawn without a reason")
	}
	if _, err := c.do("fleet.releases.withdraw", packages.WithdrawArgs{ID: id[:12], Reason: "over"}, ""); err != nil {
		t.Fatal(err)
	}
	if got := c.all(content); got != "" {
		t.Error("what was withdrawn is handed out")
	}
	if left, err := os.ReadDir(c.dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// all is what comes of a package in pieces.
func (c *counter) all(content string) string {
	sum := sha256.Sum256([]byte(content))
	var got []byte
	for {
		b, ok := c.shelf.Piece(protocol.Get{SHA256: sum, Offset: uint64(len(got))})
		if !ok || len(b) == 0 {
			return string(got)
		}
		got = append(got, b...)
	}
}

// TestNewestAndBusy: of two releases a machine gets the newer, and none while it is at one.
func TestNewestAndBusy(t *testing.T) {
	c := newCounter(t)
	for _, version := range []string{"1.6", "1.7"} {
		if _, err := c.do("fleet.releases.offer", packages.OfferArgs{Note: c.note(version, version), All: true}, version); err != nil {
			t.Fatal(err)
		}
	}
	u := &protocol.Update{Format: "deb", Architecture: "amd64", Version: "1.5"}
	none := func() []string { return nil }
	if o, ok := c.shelf.For("1", u, none); !ok || o.Release.Version != "1.7" {
		t.Errorf("%+v, %v", o, ok)
	}
	for _, state := range []string{"fetched", "installing", "starting"} {
		u.State = state
		if _, ok := c.shelf.For("1", u, none); ok {
			t.Errorf("offered while %s", state)
		}
	}
}

// TestWhatIsNoRelease is refused before any machine hears of it, and nothing of it stays.
func TestWhatIsNoRelease(t *testing.T) {
	c := newCounter(t)
	good := c.note("1.6", "package")
	for name, x := range map[string]struct {
		args    packages.OfferArgs
		content string
	}{
		"no note":         {packages.OfferArgs{Note: []byte("{}"), All: true}, "package"},
		"a huge note":     {packages.OfferArgs{Note: make([]byte, release.MaxNote+1), All: true}, "package"},
		"other bytes":     {packages.OfferArgs{Note: good, All: true}, "packagf"},
		"cut off":         {packages.OfferArgs{Note: good, All: true}, "packag"},
		"longer":          {packages.OfferArgs{Note: good, All: true}, "packages"},
		"nobody":          {packages.OfferArgs{Note: good}, "package"},
		"unknown group":   {packages.OfferArgs{Note: good, Groups: []string{"x"}}, "package"},
		"unknown machine": {packages.OfferArgs{Note: good, Hosts: []string{"x"}}, "package"},
	} {
		if _, err := c.do("fleet.releases.offer", x.args, x.content); err == nil {
			t.Errorf("%s is offered", name)
		}
	}
	if left, err := os.ReadDir(c.dir); err != nil || len(left) != 0 || len(c.fleet.acts) != 0 {
		t.Errorf("%v, %v, %v", left, c.fleet.acts, err)
	}
	c.fleet.broken = errors.New("the disk is full")
	if _, err := c.do("fleet.releases.offer", packages.OfferArgs{Note: good, All: true}, "package"); err == nil || len(c.shelf.Offers()) != 0 {
		t.Errorf("offered without a record: %v", err)
	}
	c.fleet.broken = nil
	for i := range 17 {
		text := hex.EncodeToString([]byte{byte(i)})
		_, err := c.do("fleet.releases.offer", packages.OfferArgs{Note: c.note("2."+text, text), All: true}, text)
		if (err == nil) != (i < 16) || i == 16 && !errors.Is(err, packages.ErrMany) {
			t.Errorf("release %d: %v", i, err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.dir, "offers.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := packages.Open(c.dir); err == nil {
		t.Error("a damaged list opens")
	}
}
