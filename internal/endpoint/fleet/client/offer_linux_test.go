package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/endpoint/update"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/event"
)

// packageManager is one for packages whose bytes are their facts: "chaperone VERSION ARCHITECTURE" and anything after a line.
type packageManager struct{ installed string }

func described(text string) (update.Facts, error) {
	words := strings.Fields(strings.SplitN(text, "\n", 2)[0])
	if len(words) != 3 {
		return update.Facts{}, fmt.Errorf("no package: %q", text)
	}
	return update.Facts{Format: release.Deb, Package: words[0], Version: words[1], Architecture: words[2]}, nil
}

func (p packageManager) Installed(context.Context) (update.Facts, error) {
	return described(p.installed)
}
func (p packageManager) Describe(_ context.Context, path string) (update.Facts, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return update.Facts{}, err
	}
	return described(string(b))
}
func (p packageManager) Newer(_ context.Context, a, b string) (bool, error) { return a > b, nil }
func (p packageManager) Install(context.Context, string) error              { return nil }
func (p packageManager) Keep(context.Context, update.Facts, string) error   { return nil }

// updates is a machine that takes releases, and the fleet server that it knows.
type updates struct {
	*server
	dir      string
	secret   string
	verifier string
	free     uint64
	launched atomic.Int32
	machine  *machine
}

func newUpdates(t *testing.T) *updates {
	t.Helper()
	u := &updates{server: newServer(t), free: 1 << 40}
	var err error
	if u.secret, u.verifier, err = note.GenerateKey(rand.Reader, "release.example.org"); err != nil {
		t.Fatal(err)
	}
	if u.dir, err = u.enrol(nil); err != nil {
		t.Fatal(err)
	}
	return u
}

// start runs the machine, on which version 1.5 is installed.
func (u *updates) start() {
	u.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		u.t.Fatal(err)
	}
	u.machine = u.machineWith(u.dir, func(m *machine) client.Updater {
		x, err := update.New(u.t.Context(), update.Options{Dir: filepath.Join(u.dir, "update"), Key: u.verifier, Manager: packageManager{"chaperone 1.5 amd64"}, Binary: binary,
			Launch: func(context.Context) error { u.launched.Add(1); return nil },
			Room:   func(string) (uint64, error) { return u.free, nil }, Recorder: spool.NewRecorder(m.spool, event.Host{Name: "laptop-17"}, time.Now), Now: time.Now,
			Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			u.t.Fatal(err)
		}
		return x
	})
	u.machine.run(u.t)
}

// greeted is the agent's next stream, and how it does with releases.
func (u *updates) greeted() (net.Conn, *protocol.Update) {
	u.t.Helper()
	for {
		conn, err := u.l.Accept()
		if err != nil {
			u.t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		kind, payload, err := protocol.Read(conn)
		if err != nil || kind != protocol.HelloFrame {
			conn.Close()
			continue
		}
		u.t.Cleanup(func() { conn.Close() })
		h, err := protocol.Decode[protocol.Hello](payload)
		if err != nil {
			u.t.Fatal(err)
		}
		u.send(conn, protocol.WelcomeFrame, protocol.Welcome{Heartbeat: 60})
		return conn, h.Update
	}
}

// signed is the note of a package with some bytes, changed before it is signed.
func (u *updates) signed(content string, change ...string) []byte {
	u.t.Helper()
	path := filepath.Join(u.t.TempDir(), "p")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		u.t.Fatal(err)
	}
	f, err := described(content)
	if err != nil {
		u.t.Fatal(err)
	}
	m, err := release.Of(path, f.Format, f.Package, f.Version, f.Architecture, time.Now())
	if err != nil {
		u.t.Fatal(err)
	}
	whole, err := release.Sign(m, u.secret)
	if err != nil {
		u.t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(whole), "\n\n")
	signer, err := note.NewSigner(u.secret)
	if err != nil {
		u.t.Fatal(err)
	}
	again, err := note.Sign(&note.Note{Text: strings.NewReplacer(change...).Replace(text) + "\n"}, signer)
	if err != nil {
		u.t.Fatal(err)
	}
	return again
}

// serve gives the pieces that the agent asks for, until it asks no more or hangs up. It returns what it asked for and how it does then.
func (u *updates) serve(conn net.Conn, content string, most int) (asked []uint64, last *protocol.Update) {
	u.t.Helper()
	for {
		kind, payload, err := protocol.Read(conn)
		if err != nil {
			return asked, nil
		}
		switch kind {
		case protocol.GetFrame:
			g, err := protocol.ParseGet(payload)
			if err != nil {
				u.t.Fatal(err)
			}
			if asked = append(asked, g.Offset); len(asked) > most {
				conn.Close()
				return asked, nil
			}
			p := protocol.Piece{Get: g}
			if g.Offset < uint64(len(content)) {
				p.Bytes = []byte(content)[g.Offset:min(uint64(len(content)), g.Offset+protocol.MaxPiece)]
			}
			u.raw(conn, protocol.PieceFrame, p.Encode())
		case protocol.AppliedFrame:
			a, err := protocol.Decode[protocol.Applied](payload)
			if err != nil || a.Update == nil {
				u.t.Fatalf("%s, %v", payload, err)
			}
			return asked, a.Update
		}
	}
}

// acts are the acts in the spool, with their reasons.
func (u *updates) acts() []string {
	u.t.Helper()
	var out []string
	if u.machine.spool.Waiting() == 0 {
		return nil
	}
	items, err := u.machine.spool.Next()
	if err != nil {
		u.t.Fatal(err)
	}
	for _, i := range items.List {
		e, err := protocol.DecodeEvent(i.Body)
		if err != nil || e.Act == nil || e.Act.Action != e.Phase {
			u.t.Fatalf("%+v, %v", e, err)
		}
		words := e.Phase
		for _, d := range e.Act.Details {
			if d.Name == "reason" || d.Name == "not_recorded" {
				words += " " + d.Value
			}
		}
		out = append(out, words)
	}
	return out
}

// TestReleasesAreRefused: whatever is not a higher version of this program for this machine, signed by the key that it pins, is refused: the agent hangs
// up, that is on record once with the reason, nothing is installed, and the server hears of it with the next connection.
func TestReleasesAreRefused(t *testing.T) {
	good := "chaperone 1.6 amd64\n" + strings.Repeat("program ", 20_000)
	for name, c := range map[string]struct {
		offer   func(u *updates) []byte
		content string
		why     string
	}{
		"another key": {func(u *updates) []byte {
			u.secret, _, _ = note.GenerateKey(rand.Reader, "release.example.org")
			return u.signed(good)
		}, good, "not signed by the release key"},
		"the fleet's own key": {func(u *updates) []byte {
			b, _ := u.auth.Sign(protocol.Manifest{Scope: protocol.AllHosts, Generation: 9, Created: time.Now().UTC()})
			return b
		}, good, "not signed by the release key"},
		"a changed note":     {func(u *updates) []byte { return bytes.Replace(u.signed(good), []byte("1.6"), []byte("1.7"), 1) }, good, "not signed by the release key"},
		"another package":    {func(u *updates) []byte { return u.signed(good, `"package":"chaperone"`, `"package":"sudo"`) }, good, "not chaperone"},
		"another note":       {func(u *updates) []byte { return u.signed(good, "release/1", "bundle/1") }, good, "another type of note"},
		"the same version":   {func(u *updates) []byte { return u.signed("chaperone 1.5 amd64") }, good, "not newer: version 1.5, and 1.5 is installed"},
		"an older version":   {func(u *updates) []byte { return u.signed("chaperone 1.4 amd64") }, good, "not newer"},
		"other architecture": {func(u *updates) []byte { return u.signed("chaperone 1.6 arm64") }, good, "for other machines"},
		"other format":       {func(u *updates) []byte { return u.signed(good, `"deb"`, `"rpm"`) }, good, "for other machines"},
		"too large":          {func(u *updates) []byte { return u.signed(good, `"size":`, `"size":999`) }, good, "at most"},
		"other bytes":        {func(u *updates) []byte { return u.signed(good) }, strings.Replace(good, "program", "another", 1), "another size or SHA-256"},
		"longer":             {func(u *updates) []byte { return u.signed("chaperone 1.6 amd64") }, good, "it is longer"},
		"says it is another": {func(u *updates) []byte { return u.signed(good, "1.6", "1.7") }, good, "it is chaperone 1.6 of amd64"},
		"no note":            {func(*updates) []byte { return []byte("{}") }, good, "malformed note"},
		"empty":              {func(*updates) []byte { return nil }, good, "malformed note"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpdates(t)
			u.start()
			conn, how := u.greeted()
			if how == nil || how.Format != "deb" || how.Architecture != "amd64" || how.Version != "1.5" {
				t.Fatalf("%+v", how)
			}
			offered := c.offer(u)
			for range 3 {
				u.raw(conn, protocol.OfferFrame, offered)
				if _, how := u.serve(conn, c.content, 100); how != nil {
					t.Fatalf("the agent goes on: %+v", how)
				}
				conn, how = u.greeted()
				if how.Refused != release.ID(offered) || !strings.Contains(how.Why, c.why) || how.Version != "1.5" {
					t.Errorf("the server hears %+v", how)
				}
			}
			refused := slices.DeleteFunc(u.acts(), func(s string) bool { return s == update.ActOffered })
			if len(refused) != 1 || !strings.HasPrefix(refused[0], client.OfferRefused) || !strings.Contains(refused[0], c.why) {
				t.Errorf("on record: %q", refused)
			}
			if u.launched.Load() != 0 {
				t.Error("it is installed")
			}
			left, err := filepath.Glob(filepath.Join(u.dir, "update", "*.deb"))
			if err != nil || len(left) > 0 {
				t.Error(left, err)
			}
		})
	}
}

// TestHugeNote: a note longer than a frame of its kind may be is not read at all.
func TestHugeNote(t *testing.T) {
	u := newUpdates(t)
	u.start()
	conn, _ := u.greeted()
	u.raw(conn, protocol.OfferFrame, make([]byte, release.MaxNote+1))
	if !hangsUp(conn) {
		t.Error("the agent goes on")
	}
}

// TestRefusalsAreBounded: however many offers a server makes up, a day has so many records of them, and the next says how many there were besides.
func TestRefusalsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		since time.Time
		want  []string
	}{
		"the same day": {time.Now().Add(-time.Hour), []string{client.OfferRefused + " not signed 7"}},
		"another day":  {time.Now().Add(-25 * time.Hour), []string{client.OfferRefused + " not signed 7", client.OfferRefused + " not signed", client.OfferRefused + " not signed"}},
	} {
		u := newUpdates(t)
		kept := fmt.Sprintf(`{"known":[],"since":%q,"count":15,"left":7}`, c.since.Format(time.RFC3339))
		if err := os.WriteFile(filepath.Join(u.dir, "offers.json"), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
		u.start()
		for i := range 3 {
			conn, _ := u.greeted()
			u.raw(conn, protocol.OfferFrame, fmt.Appendf(nil, "offer %d", i))
			if !hangsUp(conn) {
				t.Fatal("the agent goes on")
			}
		}
		acts := u.acts()
		for i, act := range acts { // the reason is long
			head, tail, _ := strings.Cut(act, " of this machine's configuration: malformed note")
			acts[i] = strings.Replace(head, " by the release key", "", 1) + tail
		}
		if !slices.Equal(acts, c.want) {
			t.Errorf("%s: %q", name, acts)
		}
	}
}

// TestRelease: a higher version that the pinned key signed is fetched across broken connections, each byte once, proven, and handed to the installer; an
// older one that was signed once is worth nothing afterwards, and neither is a second offer meanwhile.
func TestRelease(t *testing.T) {
	u := newUpdates(t)
	content := "chaperone 1.6 amd64\n" + strings.Repeat("program ", 30_000)
	offered := u.signed(content)
	u.start()
	conn, _ := u.greeted()
	u.raw(conn, protocol.OfferFrame, offered)
	first, _ := u.serve(conn, content, 2) // it is cut off with the third
	conn, how := u.greeted()
	if how.State != string(update.Fetching) || how.Release != release.ID(offered) {
		t.Errorf("%+v", how)
	}
	u.raw(conn, protocol.OfferFrame, offered)
	second, how := u.serve(conn, content, 100)
	if len(first) != 3 || len(second) == 0 || second[0] != first[2] {
		t.Errorf("asked for %d, then %d", first, second)
	}
	if how == nil || how.State != string(update.Fetched) || u.launched.Load() != 1 {
		t.Fatalf("%+v, launched %d", how, u.launched.Load())
	}
	sum := sha256.Sum256([]byte(content))
	got, err := os.ReadFile(filepath.Join(u.dir, "update", hex.EncodeToString(sum[:])+".deb"))
	if err != nil || string(got) != content {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(filepath.Join(u.dir, "update")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	u.raw(conn, protocol.OfferFrame, u.signed("chaperone 1.7 amd64"))
	if _, how = u.serve(conn, "", 100); how == nil || how.Release != release.ID(offered) || u.launched.Load() != 1 {
		t.Errorf("a second offer while one is installed: %+v", how)
	}
	if acts := u.acts(); !slices.Equal(acts, []string{update.ActOffered}) {
		t.Errorf("on record: %q", acts)
	}
}

// TestReplay: what was begun with once is never begun with again, whatever became of it; nor is anything below.
func TestReplay(t *testing.T) {
	u := newUpdates(t)
	if err := os.MkdirAll(filepath.Join(u.dir, "update"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(u.dir, "update", "state.json"), []byte(`{"highest":"1.8","phase":"rolled back","told":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	u.start()
	for _, version := range []string{"1.6", "1.8"} {
		conn, _ := u.greeted()
		u.raw(conn, protocol.OfferFrame, u.signed("chaperone "+version+" amd64"))
		if !hangsUp(conn) {
			t.Errorf("%s is taken", version)
		}
	}
	conn, how := u.greeted()
	if !strings.Contains(how.Why, "1.8 this machine had before") {
		t.Errorf("%+v", how)
	}
	u.raw(conn, protocol.OfferFrame, u.signed("chaperone 1.9 amd64"))
	if _, how := u.serve(conn, "chaperone 1.9 amd64", 100); how == nil || how.State != string(update.Fetched) {
		t.Errorf("a higher one: %+v", how)
	}
}

// TestNoRoom: what does not fit is not begun with, and is taken when there is room; what cannot be written is told; what is withdrawn is let go of; a
// second offer takes the place of one that is being fetched.
func TestNoRoom(t *testing.T) {
	u := newUpdates(t)
	content := "chaperone 1.6 amd64\n" + strings.Repeat("program ", 30_000)
	offered := u.signed(content)
	u.free = 1 << 20
	u.start()
	conn, _ := u.greeted()
	u.raw(conn, protocol.OfferFrame, offered)
	if asked, how := u.serve(conn, content, 100); len(asked) > 0 || how == nil || how.State != string(update.Waiting) || !strings.Contains(how.Error, "no room") {
		t.Errorf("asked for %d: %+v", asked, how)
	}
	sum := sha256.Sum256([]byte(content))
	part := filepath.Join(u.dir, "update", hex.EncodeToString(sum[:])+".part")
	u.free = 1 << 40
	if err := os.Mkdir(part, 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	u.raw(conn, protocol.OfferFrame, offered)
	if _, how := u.serve(conn, content, 100); how == nil || how.State != string(update.Waiting) || how.Error == "" {
		t.Errorf("a disk that fails: %+v", how)
	}
	if err := os.Remove(part); err != nil {
		t.Fatal(err)
	}
	u.raw(conn, protocol.OfferFrame, offered)
	if asked, how := u.serve(conn, content[:protocol.MaxPiece], 100); len(asked) != 2 || how == nil || how.Release != "" || how.State != "" {
		t.Errorf("withdrawn: asked for %d, %+v", asked, how)
	}
	if _, err := os.Stat(part); !os.IsNotExist(err) {
		t.Errorf("the part stays: %v", err)
	}
	u.raw(conn, protocol.OfferFrame, offered)
	next := u.signed("chaperone 1.7 amd64")
	u.raw(conn, protocol.OfferFrame, next)
	u.answer(conn, protocol.GetFrame) // of the first
	if _, how := u.serve(conn, "chaperone 1.7 amd64", 100); how == nil || how.Release != release.ID(next) || how.State != string(update.Fetched) {
		t.Errorf("two offers: %+v", how)
	}
}
