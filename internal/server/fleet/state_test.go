package fleet_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// leaf is the certificate that a machine has.
func (a *agent) leaf() *x509.Certificate {
	a.r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(a.dir, "agent.crt"))
	if err != nil {
		a.r.t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		a.r.t.Fatal(err)
	}
	return cert
}

// ahead is a clock that tests move forward.
type ahead struct{ by atomic.Int64 }

// Now tells the time.
func (a *ahead) Now() time.Time { return time.Now().UTC().Add(time.Duration(a.by.Load())) }

// TestCertificates: one is renewed in its last third, over the stream; one that has ended opens nothing, and the machine comes back by a code and
// an administrator, with the policy it had all along.
func TestCertificates(t *testing.T) {
	r := newRig(t)
	r.stop()
	now := &ahead{}
	r.clock = now
	r.start()
	a := r.enrol("laptop-17")
	a.now = now.Now
	first := a.leaf()
	now.by.Store(int64(70 * 24 * time.Hour))
	a.run()
	a.next()
	eventually(t, "renewed", func() bool { return a.leaf().NotAfter.After(first.NotAfter.Add(60 * 24 * time.Hour)) })
	a.stop()
	eventually(t, "its stream has ended", func() bool { h, err := r.Host(a.ID()); return err == nil && !h.Seen.Online })
	now.by.Store(int64(300 * 24 * time.Hour))
	for len(a.applied) > 0 {
		<-a.applied
	}
	a.run()
	if got := a.next(); string(got.Policy) != policyText {
		t.Error("the policy ended with the certificate")
	}
	if h, err := r.Host(a.ID()); err != nil || h.Seen.Online {
		t.Errorf("it came in with a certificate that has ended: %+v", h.Seen)
	}
	a.stop()
	err := client.Enrol(t.Context(), client.EnrolOptions{Dir: a.dir, Server: r.address, Code: r.code(), Machine: client.Machine{Name: "laptop-17", Version: "2"}, Every: 20 * time.Millisecond, Now: now.Now,
		Waiting: func(print string) {
			if h, err := r.Approve(t.Context(), "admin", print); err != nil || h.ID != a.ID() {
				t.Errorf("%+v, %v", h, err)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	a.run()
	eventually(t, "it is back", func() bool { h, err := r.Host(a.ID()); return err == nil && h.Seen.Online })
	if h, err := r.Host(a.ID()); err != nil || h.State != fleet.Approved || h.Ends.Before(now.Now()) {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestStateOutlivesRestarts: hosts, codes, approvals and what was seen are there again; what is damaged is said and not guessed.
func TestStateOutlivesRestarts(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	g := a.next().Generation
	a.report(telegram("/opt/t"))
	code := r.code()
	if _, err := r.Grant(t.Context(), "admin", fleet.Approval{Subject: fleet.OnePerson, Name: "bob", App: "signal", Reason: "x", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "applied", func() bool { h, _ := r.Host(a.ID()); return h.Seen.Fleet == g })
	a.stop()
	r.stop()
	r.start()
	h, err := r.Host(a.ID())
	if err != nil || h.Seen.Fleet != g || h.Inventory == nil || h.Inventory.Programs[0].Path != "/opt/t" || h.Seen.Online || h.Name != "laptop-17" {
		t.Errorf("%+v, %v", h, err)
	}
	if codes := r.Codes(); len(codes) != 2 || codes[1].Name != code.Name() && codes[0].Name != code.Name() {
		t.Errorf("%+v", codes)
	}
	if inForce, _ := r.Approvals(); len(inForce) != 1 || inForce[0].For() != "person bob" {
		t.Errorf("%+v", inForce)
	}
	if again, _, _ := r.Release(); again != g {
		t.Errorf("the same policy has the number %d after a restart, and had %d", again, g)
	}
	r.stop()
	path := filepath.Join(r.dir, "state", "fleet", "hosts", a.ID()+".json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = fleet.New(fleet.Config{Listen: "127.0.0.1:0", Data: r.dir, Keys: r.dir + "/keys"}, fleet.Deps{Source: r.source, Directory: &identity.People{}, Recorder: r.found, Acts: r.acts, Board: health.NewBoard(time.Now), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), a.ID()) {
		t.Errorf("a damaged host: %v", err)
	}
}

// TestOperations: the control socket offers what people do, to administrators alone, and nothing of it tells a secret.
func TestOperations(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	a.next()
	a.report(telegram("/opt/t"))
	ops := r.Operations()
	call := func(role control.Role, name string, args any) (string, error) {
		raw, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = ops.Run(t.Context(), name, &control.Call{Caller: control.Caller{Account: "adam", Roles: []control.Role{role}}, Args: raw, In: strings.NewReader(""), Out: &out})
		return out.String(), err
	}
	for _, op := range ops {
		if _, err := call(control.Reviewer, op.Name, struct{}{}); !errors.Is(err, control.ErrForbidden) {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
	for _, c := range []struct {
		name string
		args any
		want string
	}{
		{"fleet.code", fleet.CodeArgs{Life: time.Hour, Uses: 1}, "CF1-"},
		{"fleet.codes", struct{}{}, `"uses":1`},
		{"fleet.hosts", fleet.HostsArgs{States: []fleet.State{fleet.Approved}, Inventory: true}, `"path":"/opt/t"`},
		{"fleet.release", struct{}{}, `"policy":"v1"`},
		{"fleet.approval", fleet.GrantArgs{Approval: fleet.Approval{Subject: fleet.OneHost, Name: "laptop-17", App: "telegram", Reason: "x"}, For: time.Hour}, `"host":"laptop-17"`},
		{"fleet.approvals", struct{}{}, `"type":"approval"`},
		{"fleet.campaign.plan", fleet.PlanArgs{App: "telegram", Action: "remove", Reason: "x"}, `"stage":"planned"`},
		{"fleet.campaigns", struct{}{}, `"app":"telegram"`},
		{"fleet.decide", fleet.DecideArgs{Hosts: []string{"laptop-17"}, Refuse: true, Reason: "x"}, `"state":"revoked"`},
	} {
		out, err := call(control.Administrator, c.name, c.args)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %s, %v", c.name, out, err)
		}
		if strings.Contains(out, `"certificate":`) || strings.Contains(out, `"request":"`) || strings.Contains(out, "secret") {
			t.Errorf("%s tells too much: %s", c.name, out)
		}
	}
	if _, err := call(control.Administrator, "fleet.code", map[string]string{"unknown": "x"}); err == nil {
		t.Error("an argument that there is not is taken")
	}
}

// TestWithoutHolds: where holds cannot be read every machine counts as held, and health says so.
func TestWithoutHolds(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	r.stop()
	board := health.NewBoard(time.Now)
	r.board, r.noHolds = board, true
	r.start()
	a.run()
	if got := a.until(func(b client.Bundle) bool { return b.Host > 0 }); !got.Held {
		t.Error("nobody knows of holds, and it counts as free")
	}
	eventually(t, "health", func() bool { return board.State("fleet") == health.Degraded })
	a.report(telegram("/opt/t"))
	x, err := r.Plan(t.Context(), "admin", fleet.Campaign{App: "telegram", Action: protocol.RemoveOrder, Reason: "x"}, nil)
	if err != nil || !x.Hosts[0].Held {
		t.Errorf("%+v, %v", x.Hosts, err)
	}
}

// TestMaxHosts: a fleet that is full takes nobody in, and says so.
func TestMaxHosts(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.maxHosts = 1
	r.start()
	r.enrol("laptop-17")
	err := client.Enrol(t.Context(), client.EnrolOptions{Dir: t.TempDir(), Server: r.address, Code: r.code(), Machine: client.Machine{Name: "laptop-18"}})
	if !errors.Is(err, client.ErrDenied) || !strings.Contains(err.Error(), "as many hosts") {
		t.Error(err)
	}
}
