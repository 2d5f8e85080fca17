package fleet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// asks enrols a machine in a folder, decided by what a test does with its fingerprint.
func (r *rig) asks(dir string, c protocol.Code, now func() time.Time, decide func(print string)) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	return client.Enrol(ctx, client.EnrolOptions{Dir: dir, Server: r.address, Code: c, Machine: client.Machine{Name: "x"}, Every: 10 * time.Millisecond, Waiting: decide, Now: now})
}

// TestCodesEnd: a code has so many uses and so long a life, over a restart too, and the answer does not tell which of both it was.
func TestCodesEnd(t *testing.T) {
	r := newRig(t)
	r.stop()
	now := &ahead{}
	r.clock = now
	r.start()
	code := func(life time.Duration, uses int) protocol.Code {
		text, err := r.NewCode(t.Context(), "admin", "test", life, uses)
		if err != nil {
			t.Fatal(err)
		}
		c, err := protocol.ParseCode(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	deny := func(print string) {
		if _, err := r.Deny(t.Context(), "admin", print, "not ours"); err != nil {
			t.Error(err)
		}
	}
	once, hour := code(48*time.Hour, 1), code(time.Hour, 5)
	if err := r.asks(t.TempDir(), once, now.Now, deny); !errors.Is(err, client.ErrDenied) || !strings.Contains(err.Error(), "administrator") {
		t.Fatalf("a good code: %v", err)
	}
	r.stop()
	r.start()
	used := r.asks(t.TempDir(), once, now.Now, deny)
	now.by.Store(int64(2 * time.Hour))
	over := r.asks(t.TempDir(), hour, now.Now, deny)
	unknown := r.asks(t.TempDir(), protocol.NewCode(once.Pin), now.Now, deny)
	for name, err := range map[string]error{"used": used, "over": over, "unknown": unknown} {
		if !errors.Is(err, client.ErrDenied) || err.Error() != used.Error() || strings.Contains(err.Error(), "administrator") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(r.Hosts()); n != 1 {
		t.Errorf("%d hosts", n)
	}
	if codes := r.Codes(); len(codes) != 0 {
		t.Errorf("in force: %+v", codes)
	}
	for name, c := range map[string]struct {
		life time.Duration
		uses int
	}{"no life": {0, 1}, "a negative one": {-time.Hour, 1}, "for ever": {fleet.MaxCodeLife + 1, 1}, "no use": {time.Hour, 0}, "endless": {time.Hour, fleet.MaxCodeUses + 1}} {
		if _, err := r.NewCode(t.Context(), "admin", "", c.life, c.uses); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}

// TestDecisionsAreFinal: who was refused stays refused with a new code, and is not let in or put out by a second decision.
func TestDecisionsAreFinal(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	deny := func(print string) { r.Deny(t.Context(), "admin", print, "not ours") }
	for range 2 {
		if err := r.asks(dir, r.code(), nil, deny); !errors.Is(err, client.ErrDenied) {
			t.Fatal(err)
		}
	}
	h := r.Hosts(fleet.Denied)
	if len(h) != 1 {
		t.Fatalf("%+v", r.Hosts())
	}
	if _, err := r.Approve(t.Context(), "admin", h[0].ID); !errors.Is(err, fleet.ErrNotPending) {
		t.Errorf("approved after all: %v", err)
	}
	if _, err := r.Deny(t.Context(), "admin", h[0].ID, "again"); !errors.Is(err, fleet.ErrNotPending) {
		t.Errorf("refused twice: %v", err)
	}
	for _, what := range []string{"", "nobody", "../" + h[0].ID} {
		if _, err := r.Approve(t.Context(), "admin", what); !errors.Is(err, fleet.ErrUnknownHost) {
			t.Errorf("%q: %v", what, err)
		}
	}
	a := r.enrol("laptop-17")
	if _, err := r.Approve(t.Context(), "admin", a.id(t)); !errors.Is(err, fleet.ErrNotPending) {
		t.Errorf("approved twice: %v", err)
	}
	if acts := r.acts.acts(); strings.Count(acts, "fleet.deny") != 1 || strings.Count(acts, "fleet.approve") != 1 {
		t.Errorf("acts: %s", acts)
	}
}

// TestNoDecisionWithoutRecord: what cannot be recorded is not done.
func TestNoDecisionWithoutRecord(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	id := a.id(t)
	code := r.code()
	x, err := r.Grant(t.Context(), "admin", fleet.Approval{Subject: fleet.OneHost, Name: id, App: "signal", Reason: "x", Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	r.acts.mu.Lock()
	r.acts.broken = true
	r.acts.mu.Unlock()
	_, denied := r.Deny(t.Context(), "admin", id, "stolen")
	_, made := r.NewCode(t.Context(), "admin", "", time.Hour, 1)
	_, granted := r.Grant(t.Context(), "admin", fleet.Approval{Subject: fleet.OnePerson, Name: "bob", App: "signal", Reason: "x", Until: time.Now().Add(time.Hour)})
	for name, err := range map[string]error{
		"put out": denied, "a code": made, "an approval": granted, "taken back": r.Withdraw(t.Context(), "admin", x.ID, "over"),
		"a code withdrawn": r.WithdrawCode(t.Context(), "admin", code.Name()), "an enrolment": r.asks(t.TempDir(), code, nil, nil),
	} {
		if err == nil {
			t.Errorf("%s: done without a record", name)
		}
	}
	if h, err := r.Host(id); err != nil || h.State != fleet.Approved || len(r.Hosts()) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	if inForce, _ := r.Approvals(); len(inForce) != 1 || inForce[0].ID != x.ID {
		t.Errorf("%+v", inForce)
	}
}

// TestCertificatesOfOthers: neither that of a machine that was put out, nor one that somebody else signed in the same names, nor none opens a stream.
func TestCertificatesOfOthers(t *testing.T) {
	r := newRig(t)
	good, out := r.enrol("laptop-17"), r.enrol("laptop-18")
	good.hello(good.dial(), protocol.BundleFrame)
	out.hello(out.dial(), protocol.BundleFrame)
	if _, err := r.Deny(t.Context(), "admin", "laptop-18", "stolen"); err != nil {
		t.Fatal(err)
	}
	revoked, err := tls.LoadX509KeyPair(filepath.Join(out.dir, "agent.crt"), filepath.Join(out.dir, "agent.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string]tls.Certificate{"put out": revoked, "of another authority": forged(t, good.leaf())} {
		conn, err := tls.Dial("tcp", r.address, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{protocol.Streaming}, Certificates: []tls.Certificate{pair}})
		if err != nil {
			continue // it is refused in the handshake
		}
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		protocol.Send(conn, protocol.HelloFrame, protocol.Hello{Protocol: 1, Spool: "s"})
		for {
			kind, _, err := protocol.Read(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) || err == nil && kind != protocol.RefusedFrame {
				t.Errorf("%s: %q, %v", name, byte(kind), err)
			}
			if err != nil || kind != protocol.RefusedFrame {
				break
			}
		}
		conn.Close()
	}
	if h, err := r.Host(good.id(t)); err != nil || h.State != fleet.Approved {
		t.Errorf("%+v, %v", h, err)
	}
}

// forged is a certificate with the names of a good one, of an authority with the names of the good one's.
func forged(t *testing.T, leaf *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: leaf.Issuer.CommonName, Organization: leaf.Issuer.Organization}, SubjectKeyId: leaf.AuthorityKeyId, IsCA: true, BasicConstraintsValid: true}
	like := &x509.Certificate{SerialNumber: leaf.SerialNumber, Subject: leaf.Subject, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, KeyUsage: leaf.KeyUsage, ExtKeyUsage: leaf.ExtKeyUsage, DNSNames: leaf.DNSNames, URIs: leaf.URIs}
	der, err := x509.CreateCertificate(rand.Reader, like, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
