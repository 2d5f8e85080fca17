package client_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server/fleet/authority"
)

// server is one that does what a test tells it, with the fleet's own keys.
type server struct {
	t    *testing.T
	auth *authority.Authority
	l    net.Listener
	host string
}

func newServer(t *testing.T) *server {
	t.Helper()
	a, err := authority.Open(t.TempDir(), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", a.TLS(func(*x509.Certificate) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &server{t, a, l, "host-1"}
}

// enrol answers one enrolment, and gives the state folder of the machine.
func (s *server) enrol(change func(e *protocol.Enrolled)) (string, error) {
	s.t.Helper()
	dir := s.t.TempDir()
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		conn, err := s.l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, payload, err := protocol.Read(conn)
		if err != nil {
			return
		}
		ask, err := protocol.Decode[protocol.Enrol](payload)
		if err != nil {
			return
		}
		r, err := protocol.ParseRequest(ask.Request)
		if err != nil {
			return
		}
		cert, _, err := s.auth.Issue(r, s.host)
		if err != nil {
			return
		}
		e := protocol.Enrolled{State: protocol.Approved, ID: s.host, Certificate: cert, Fleet: s.auth.Name(), Verifier: s.auth.Verifier()}
		if change != nil {
			change(&e)
		}
		protocol.Send(conn, protocol.EnrolledFrame, e)
	})
	err := client.Enrol(s.t.Context(), client.EnrolOptions{Dir: dir, Server: s.l.Addr().String(), Code: protocol.NewCode(s.auth.Pin()), Machine: client.Machine{Name: "laptop-17"}, Every: time.Millisecond})
	return dir, err
}

// machine runs an agent on a state folder.
type machine struct {
	*client.Client
	spool   *spool.Spool
	mu      sync.Mutex
	applied []client.Bundle
	broken  error
	done    []protocol.Order
}

// Apply implements client.Applier.
func (m *machine) Apply(_ context.Context, b client.Bundle) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		m.applied = append(m.applied, b)
	}
	return m.broken
}

// Execute implements client.Executor.
func (m *machine) Execute(_ context.Context, o protocol.Order) protocol.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = append(m.done, o)
	return protocol.Report{}
}

func (s *server) machine(dir string) *machine { return s.machineWith(dir, nil) }

// machineWith is machine with what takes releases.
func (s *server) machineWith(dir string, updates func(m *machine) client.Updater) *machine {
	s.t.Helper()
	m := &machine{}
	var err error
	if m.spool, err = spool.Open(filepath.Join(dir, "spool"), 0); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { m.spool.Close() })
	var u client.Updater
	if updates != nil {
		u = updates(m)
	}
	m.Client, err = client.New(s.t.Context(), client.Options{Dir: dir, Update: u, Machine: client.Machine{Name: "laptop-17"}, Apply: m, Execute: m, Spool: m.spool, Briefly: true, FirstTry: time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// run runs the agent until the test ends.
func (m *machine) run(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { m.Run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
}

// stream takes the agent's next stream and greets it.
func (s *server) stream() net.Conn {
	s.t.Helper()
	for {
		conn, err := s.l.Accept()
		if err != nil {
			s.t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if kind, _, err := protocol.Read(conn); err != nil || kind != protocol.HelloFrame {
			conn.Close()
			continue
		}
		s.t.Cleanup(func() { conn.Close() })
		s.send(conn, protocol.WelcomeFrame, protocol.Welcome{Heartbeat: 60})
		return conn
	}
}

func (s *server) send(conn net.Conn, k protocol.Kind, v any) {
	s.t.Helper()
	if err := protocol.Send(conn, k, v); err != nil {
		s.t.Fatal(err)
	}
}

// bundle signs one and sends it with its parts.
func (s *server) bundle(conn net.Conn, scope string, generation uint64, parts map[string]string) {
	s.t.Helper()
	m := protocol.Manifest{Scope: scope, Generation: generation, Created: time.Now().UTC()}
	d := protocol.Delivery{}
	for _, name := range []string{protocol.CatalogPart, protocol.OverlayPart, protocol.PolicyPart, protocol.SettingsPart} {
		if text, ok := parts[name]; ok {
			m.Parts = append(m.Parts, protocol.PartOf(name, []byte(text)))
			d.Parts = append(d.Parts, []byte(text))
		}
	}
	var err error
	if d.Note, err = s.auth.Sign(m); err != nil {
		s.t.Fatal(err)
	}
	s.raw(conn, protocol.BundleFrame, d.Encode())
}

func (s *server) raw(conn net.Conn, k protocol.Kind, payload []byte) {
	s.t.Helper()
	if _, err := conn.Write(protocol.Frame(k, payload)); err != nil {
		s.t.Fatal(err)
	}
}

// answer returns the payload of the next frame of a kind.
func (s *server) answer(conn net.Conn, k protocol.Kind) []byte {
	s.t.Helper()
	for {
		kind, payload, err := protocol.Read(conn)
		if err != nil {
			s.t.Fatalf("waiting for %q: %v", byte(k), err)
		}
		if kind == k {
			return payload
		}
	}
}

// applied waits until the agent says what became of a bundle.
func (s *server) applied(conn net.Conn) protocol.Applied {
	s.t.Helper()
	a, err := protocol.Decode[protocol.Applied](s.answer(conn, protocol.AppliedFrame))
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// hangsUp reports whether the agent ends the stream.
func hangsUp(conn net.Conn) bool {
	for {
		if _, _, err := protocol.Read(conn); err != nil {
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

const text = "version: 1\n"

// TestNoRollback: neither an older bundle, nor one of another key, host or fleet is taken, over the stream, after a restart, or from the disk.
func TestNoRollback(t *testing.T) {
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	m.run(t)
	conn := s.stream()
	s.bundle(conn, protocol.AllHosts, 10, map[string]string{protocol.PolicyPart: text + "# ten\n"})
	if a := s.applied(conn); a.Generation != 10 || a.Error != "" {
		t.Fatalf("%+v", a)
	}
	other := newServer(t)
	for name, send := range map[string]func(conn net.Conn){
		"older":       func(c net.Conn) { s.bundle(c, protocol.AllHosts, 9, map[string]string{protocol.PolicyPart: text}) },
		"another key": func(c net.Conn) { other.bundle(c, protocol.AllHosts, 11, map[string]string{protocol.PolicyPart: text}) },
		"another host": func(c net.Conn) {
			s.bundle(c, protocol.HostScope("host-2"), 11, map[string]string{protocol.OverlayPart: "{}"})
		},
		"no bundle":     func(c net.Conn) { s.raw(c, protocol.BundleFrame, []byte("nonsense")) },
		"another frame": func(c net.Conn) { s.raw(c, protocol.HelloFrame, []byte("{}")) },
		"a false ack": func(c net.Conn) {
			s.raw(c, protocol.AckFrame, protocol.AckNumber(99))
			s.raw(c, protocol.AckFrame, protocol.AckNumber(99))
		},
	} {
		send(conn)
		if !hangsUp(conn) {
			t.Errorf("%s: the agent goes on", name)
		}
		conn = s.stream()
	}
	s.bundle(conn, protocol.AllHosts, 10, map[string]string{protocol.PolicyPart: text + "# another ten\n"})
	if s.applied(conn); string(m.Current().Policy) != text+"# ten\n" {
		t.Errorf("another text has the number in force: %q", m.Current().Policy)
	}
	again := s.machine(dir) // the disk
	if got := again.Current(); got.Generation != 10 || string(got.Policy) != text+"# ten\n" || len(again.applied) != 1 {
		t.Errorf("after a restart: %+v", got)
	}
	path := filepath.Join(dir, "fleet.manifest")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(raw, []byte("generation 10"), []byte("generation 99"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if forged := s.machine(dir); forged.Current().Generation != 0 || len(forged.applied) != 0 {
		t.Error("a manifest that was changed on the disk is taken")
	}
}

// TestPieces: large parts come in pieces, a piece too long or empty ends the stream, and a bundle that is not whole is never in force.
func TestPieces(t *testing.T) {
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	m.run(t)
	catalog := bytes.Repeat([]byte("catalog "), 20_000)
	manifest := protocol.Manifest{Scope: protocol.AllHosts, Generation: 5, Created: time.Now().UTC(), Parts: []protocol.Part{protocol.PartOf(protocol.CatalogPart, catalog), protocol.PartOf(protocol.PolicyPart, []byte(text))}}
	signed, err := s.auth.Sign(manifest)
	if err != nil {
		t.Fatal(err)
	}
	push := func(conn net.Conn) protocol.Get {
		s.raw(conn, protocol.BundleFrame, protocol.Delivery{Note: signed, Parts: [][]byte{[]byte(text)}}.Encode())
		g, err := protocol.ParseGet(s.answer(conn, protocol.GetFrame))
		if err != nil || g.Offset != 0 {
			t.Fatal(g, err)
		}
		return g
	}
	conn := s.stream()
	for name, b := range map[string][]byte{"empty": nil, "other bytes": make([]byte, protocol.MaxPiece)} {
		g := push(conn)
		s.raw(conn, protocol.PieceFrame, protocol.Piece{Get: g, Bytes: b}.Encode())
		if name == "other bytes" { // found out when it is whole
			for g.Offset = protocol.MaxPiece; g.Offset < uint64(len(catalog)); g.Offset += protocol.MaxPiece {
				s.answer(conn, protocol.GetFrame)
				s.raw(conn, protocol.PieceFrame, protocol.Piece{Get: g, Bytes: catalog[g.Offset:min(g.Offset+protocol.MaxPiece, uint64(len(catalog)))]}.Encode())
			}
		}
		if !hangsUp(conn) || m.Current().Generation != 0 {
			t.Errorf("%s: taken", name)
		}
		conn = s.stream()
	}
	g := push(conn)
	for {
		s.raw(conn, protocol.PieceFrame, protocol.Piece{Get: g, Bytes: catalog[g.Offset:min(g.Offset+protocol.MaxPiece, uint64(len(catalog)))]}.Encode())
		kind, payload, err := protocol.Read(conn)
		if err != nil {
			t.Fatal(err)
		}
		if kind == protocol.AppliedFrame {
			break
		}
		if g, err = protocol.ParseGet(payload); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(m.Current().Catalog, catalog) {
		t.Error("the catalog is another")
	}
	s.bundle(conn, protocol.AllHosts, 6, map[string]string{protocol.PolicyPart: text})
	s.applied(conn)
	if left, err := os.ReadDir(filepath.Join(dir, "parts")); err != nil || len(left) != 1 {
		t.Errorf("%d parts are kept, of one that is in force (%v)", len(left), err)
	}
}

// TestHeld: a held machine refuses every order that removes, and carries out what brings back; late orders are refused.
func TestHeld(t *testing.T) {
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	m.run(t)
	conn := s.stream()
	overlay, err := protocol.Encode(protocol.Overlay{Held: true, Orders: []protocol.Order{
		{ID: "a-do", Plan: "p", Action: protocol.RemoveOrder, Expires: time.Now().Add(time.Hour), Items: []protocol.OrderItem{{Path: "/x"}}},
		{ID: "b-undo", Plan: "p", Action: protocol.RestoreOrder, Expires: time.Now().Add(time.Hour)},
		{ID: "c-undo", Plan: "p", Action: protocol.RestoreOrder, Expires: time.Now().Add(-time.Hour)}}})
	if err != nil {
		t.Fatal(err)
	}
	s.bundle(conn, protocol.HostScope(s.host), 1, map[string]string{protocol.OverlayPart: string(overlay)})
	var refused []string
	for len(refused) < 3 {
		items, err := protocol.ParseItems(s.answer(conn, protocol.ItemsFrame))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items.List {
			r, err := protocol.Decode[protocol.Report](i.Body)
			if err != nil {
				t.Fatal(err)
			}
			refused = append(refused, r.Order+" "+r.Refused)
		}
		s.raw(conn, protocol.AckFrame, protocol.AckNumber(items.Last()))
	}
	all := strings.Join(refused, "; ")
	if !strings.Contains(all, "a-do the host is under a legal hold") || !strings.Contains(all, "b-undo ;") || !strings.Contains(all, "c-undo the order came after its end") {
		t.Error(all)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.done) != 1 || m.done[0].ID != "b-undo" {
		t.Errorf("carried out: %+v", m.done)
	}
}

// TestEnrolmentIsChecked: a certificate of another key, and one without what is pinned, are not taken.
func TestEnrolmentIsChecked(t *testing.T) {
	s := newServer(t)
	for name, change := range map[string]func(e *protocol.Enrolled){
		"no verifier":   func(e *protocol.Enrolled) { e.Verifier = "nonsense" },
		"no id":         func(e *protocol.Enrolled) { e.ID = "" },
		"no cert":       func(e *protocol.Enrolled) { e.Certificate = []byte("x") },
		"another key's": func(e *protocol.Enrolled) { e.Certificate = otherCertificate(t, s) },
	} {
		dir, err := s.enrol(change)
		if err == nil {
			t.Errorf("%s: taken", name)
		}
		if _, err := client.New(t.Context(), client.Options{Dir: dir}); !errors.Is(err, client.ErrNotEnrolled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m, err := client.ThisMachine("1", "once"); err != nil || m.Name == "" {
		t.Error(m, err)
	}
}

// otherCertificate is a good certificate of somebody else.
func otherCertificate(t *testing.T, s *server) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := protocol.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := protocol.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := s.auth.Issue(r, s.host)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestSpoolGoesUpOnce: what was acknowledged does not come again, what was not does, and a server that says it has more is believed.
func TestSpoolGoesUpOnce(t *testing.T) {
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	rec := spool.NewRecorder(m.spool, event.Host{Name: "laptop-17"}, time.Now)
	for range 3 {
		if err := rec.Record(t.Context(), &event.Event{Kind: event.FindingHit}); err != nil {
			t.Fatal(err)
		}
	}
	m.run(t)
	conn := s.stream()
	items, err := protocol.ParseItems(s.answer(conn, protocol.ItemsFrame))
	if err != nil || items.First != 1 || len(items.List) != 3 {
		t.Fatalf("%+v, %v", items, err)
	}
	s.raw(conn, protocol.AckFrame, protocol.AckNumber(2))
	items, err = protocol.ParseItems(s.answer(conn, protocol.ItemsFrame))
	if err != nil || items.First != 3 || len(items.List) != 1 {
		t.Fatalf("%+v, %v", items, err)
	}
	s.send(conn, protocol.RefusedFrame, protocol.Refused{Reason: "later"})
	if !hangsUp(conn) {
		t.Error("it goes on")
	}
	conn = s.stream()
	items, err = protocol.ParseItems(s.answer(conn, protocol.ItemsFrame))
	if err != nil || items.First != 3 {
		t.Errorf("%+v, %v", items, err)
	}
}

// TestDelta: a patch makes the part that the manifest names of the one on disk; one that does not costs a question for the whole, and a wrong
// policy is never in force.
func TestDelta(t *testing.T) {
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	m.run(t)
	conn := s.stream()
	long := text + strings.Repeat("# a line of the policy\n", 5000)
	s.bundle(conn, protocol.AllHosts, 1, map[string]string{protocol.PolicyPart: text + "# first\n"})
	s.applied(conn)
	push := func(generation uint64, after, base string, change func(p *protocol.Patch)) {
		t.Helper()
		signed, err := s.auth.Sign(protocol.Manifest{Scope: protocol.AllHosts, Generation: generation, Created: time.Now().UTC(), Parts: []protocol.Part{protocol.PartOf(protocol.PolicyPart, []byte(after))}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := protocol.NewPatch([]byte(base), []byte(after))
		if err != nil {
			t.Fatal(err)
		}
		change(&p)
		s.raw(conn, protocol.DeltaFrame, protocol.Delta{Delivery: protocol.Delivery{Note: signed}, Patches: []protocol.Patch{p}}.Encode())
	}
	push(2, long, text+"# first\n", func(*protocol.Patch) {})
	if a := s.applied(conn); a.Error != "" || a.Generation != 2 || string(m.Current().Policy) != long {
		t.Errorf("%+v, %d bytes in force", a, len(m.Current().Policy))
	}
	before, generation := long, uint64(2)
	for name, change := range map[string]func(p *protocol.Patch){
		"of a part that is not here": func(p *protocol.Patch) { p.Base[0] ^= 1 },
		"for another part":           func(p *protocol.Patch) { p.Target[0] ^= 1 },
		"changed on the way":         func(p *protocol.Patch) { p.Bytes = p.Bytes[:len(p.Bytes)-1] },
		"of other bytes":             func(p *protocol.Patch) { *p, _ = protocol.NewPatch([]byte("other"), []byte("nothing like it")) },
	} {
		generation++
		after := long + "# " + name + "\n"
		push(generation, after, before, change)
		g, err := protocol.ParseGet(s.answer(conn, protocol.GetFrame))
		if err != nil || string(m.Current().Policy) != before {
			t.Fatalf("%s: %v, %d bytes in force", name, err, len(m.Current().Policy))
		}
		for g.Offset < uint64(len(after)) {
			s.raw(conn, protocol.PieceFrame, protocol.Piece{Get: g, Bytes: []byte(after)[g.Offset:min(g.Offset+protocol.MaxPiece, uint64(len(after)))]}.Encode())
			g.Offset += protocol.MaxPiece
		}
		if a := s.applied(conn); a.Error != "" || string(m.Current().Policy) != after {
			t.Errorf("%s: %+v", name, a)
		}
		before = after
	}
	s.raw(conn, protocol.DeltaFrame, []byte("nonsense"))
	if !hangsUp(conn) {
		t.Error("the agent goes on after nonsense")
	}
}

// TestPartsOfTwoScopes: a bundle that comes into force while another waits for its large part costs the other nothing.
func TestPartsOfTwoScopes(t *testing.T) {
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	m.run(t)
	conn := s.stream()
	long := []byte(text + strings.Repeat("# a line of the policy\n", 2000))
	signed, err := s.auth.Sign(protocol.Manifest{Scope: protocol.AllHosts, Generation: 7, Created: time.Now().UTC(),
		Parts: []protocol.Part{protocol.PartOf(protocol.PolicyPart, long), protocol.PartOf(protocol.SettingsPart, []byte("{}"))}})
	if err != nil {
		t.Fatal(err)
	}
	s.raw(conn, protocol.BundleFrame, protocol.Delivery{Note: signed, Parts: [][]byte{[]byte("{}")}}.Encode())
	s.bundle(conn, protocol.HostScope(m.ID()), 7, map[string]string{protocol.OverlayPart: `{"person":"alice"}`})
	for done := false; !done; {
		kind, payload, err := protocol.Read(conn)
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case protocol.GetFrame:
			g, err := protocol.ParseGet(payload)
			if err != nil {
				t.Fatal(err)
			}
			part := long
			if g.SHA256 != sha256.Sum256(long) {
				part = []byte("{}")
			}
			s.raw(conn, protocol.PieceFrame, protocol.Piece{Get: g, Bytes: part[g.Offset:min(uint64(len(part)), g.Offset+protocol.MaxPiece)]}.Encode())
		case protocol.AppliedFrame:
			a, err := protocol.Decode[protocol.Applied](payload)
			if done = a.Scope == protocol.AllHosts; err != nil || a.Error != "" {
				t.Fatalf("%+v, %v", a, err)
			}
		}
	}
	if got := m.Current(); string(got.Policy) != string(long) || got.Person != "alice" {
		t.Errorf("in force: %d bytes for %q", len(got.Policy), got.Person)
	}
}

// TestOfferIsRefused: an agent takes no program from its server, signed with the fleet's key or not: it hangs up, and that is on record.
func TestOfferIsRefused(t *testing.T) {
	s := newServer(t)
	dir, err := s.enrol(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.machine(dir)
	m.run(t)
	conn := s.stream()
	signed, err := s.auth.Sign(protocol.Manifest{Scope: protocol.AllHosts, Generation: 9, Created: time.Now().UTC(), Parts: []protocol.Part{protocol.PartOf("agent", []byte("program"))}})
	if err != nil {
		t.Fatal(err)
	}
	s.raw(conn, protocol.OfferFrame, signed)
	if !hangsUp(conn) {
		t.Error("the agent goes on")
	}
	items, err := m.spool.Next()
	if err != nil || len(items.List) != 1 {
		t.Fatalf("%d items, %v", len(items.List), err)
	}
	e, err := protocol.DecodeEvent(items.List[0].Body)
	if err != nil || e.Phase != client.OfferRefused || e.Act == nil || e.Act.Action != client.OfferRefused {
		t.Errorf("on record: %+v, %v", e, err)
	}
}
