package fleet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

func finding(path string) *event.Event {
	return &event.Event{Kind: event.FindingHit, Connector: "scan", Host: event.Host{Name: "another"}, From: event.Party{Handle: "bob"},
		Verdict: event.Verdict{Action: event.Block, Rule: "none"}, Content: event.Content{Program: &event.Program{Path: path, App: "telegram", Confidence: event.Exact}}}
}

// TestLife: a machine is enrolled and approved, gets the policy, gets a change of it, and what it finds is on record under its name.
func TestLife(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	first := a.next()
	if string(first.Policy) != policyText || first.Catalog != nil {
		t.Errorf("policy %q", first.Policy)
	}
	if got := a.until(func(b client.Bundle) bool { return b.Host > 0 }); got.Person != "alice" || len(got.Groups) != 1 || got.Held {
		t.Errorf("overlay %+v", got.Overlay)
	}
	changed := strings.Replace(policyText, "none", "no-messengers", 1)
	catalog := make([]byte, 300<<10) // in pieces
	rand.Read(catalog)
	r.source.set("v2", changed, catalog)
	second := a.next()
	if string(second.Policy) != changed || !bytes.Equal(second.Catalog, catalog) || second.Generation <= first.Generation {
		t.Errorf("generation %d after %d, %d bytes of catalog", second.Generation, first.Generation, len(second.Catalog))
	}
	eventually(t, "the server knows", func() bool {
		h, err := r.Host(a.ID())
		return err == nil && h.Seen.Fleet == second.Generation && h.Seen.Online
	})
	rec := spool.NewRecorder(a.spool, event.Host{Name: "laptop-17"}, time.Now)
	if err := rec.Record(t.Context(), finding("/home/alice/Telegram"), finding("/tmp/t")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "acknowledged", func() bool { return a.spool.Waiting() == 0 })
	found := r.found.list()
	if len(found) != 2 || found[0].Host.Name != "laptop-17" || found[0].Host.Person != "alice" || found[0].Connector != "agent" || found[0].From.Handle != "bob@laptop-17" || found[0].Program.Path != "/home/alice/Telegram" {
		t.Errorf("on record: %+v", found)
	}
	if acts := r.acts.acts(); acts != "fleet.code fleet.enrol fleet.approve" {
		t.Errorf("acts: %s", acts)
	}
}

// TestEnrolmentIsRefused: nobody comes in with a wrong, used or withdrawn code, through somebody else's server, or against an administrator.
func TestEnrolmentIsRefused(t *testing.T) {
	r := newRig(t)
	good := r.code()
	try := func(c protocol.Code, server string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		return client.Enrol(ctx, client.EnrolOptions{Dir: t.TempDir(), Server: server, Code: c, Machine: client.Machine{Name: "x"}, Every: 10 * time.Millisecond,
			Waiting: func(print string) { r.Deny(ctx, "admin", print, "not ours") }})
	}
	wrong := good
	wrong.Secret[3] ^= 1
	if err := try(wrong, r.address); !errors.Is(err, client.ErrDenied) {
		t.Errorf("a wrong secret: %v", err)
	}
	if err := try(good, newRig(t).address); err == nil || !strings.Contains(err.Error(), "not of the fleet") {
		t.Errorf("another fleet's server: %v", err)
	}
	if err := try(good, r.address); !errors.Is(err, client.ErrDenied) {
		t.Errorf("denied by an administrator: %v", err)
	}
	if err := r.WithdrawCode(t.Context(), "admin", good.Name()); err != nil {
		t.Fatal(err)
	}
	if err := try(good, r.address); !errors.Is(err, client.ErrDenied) || len(r.Hosts(fleet.Pending)) != 0 {
		t.Errorf("a withdrawn code: %v", err)
	}
	for range 12 {
		try(wrong, r.address)
	}
	if err := try(r.code(), r.address); !errors.Is(err, client.ErrDenied) {
		t.Errorf("after many wrong codes of one address a good one is taken at once: %v", err)
	}
	if _, err := r.NewCode(t.Context(), "admin", "", 0, 1); err == nil {
		t.Error("a code without an end")
	}
}

// TestRevoked: who is put out loses the stream, cannot come back, and keeps the policy.
func TestRevoked(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	g := a.next().Generation
	eventually(t, "connected", func() bool { h, _ := r.Host(a.ID()); return h.Seen.Online })
	if _, err := r.Deny(t.Context(), "admin", "laptop-17", "stolen"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream ends", func() bool { h, _ := r.Host(a.ID()); return !h.Seen.Online })
	a.stop()
	for len(a.applied) > 0 {
		<-a.applied
	}
	a.log.Reset()
	a.run()
	if got := a.next(); got.Generation != g {
		t.Errorf("generation %d in force, want %d", got.Generation, g)
	}
	eventually(t, "it is told why", func() bool { return strings.Contains(a.log.String(), "this agent's certificate was revoked") })
	if strings.Contains(a.log.String(), "connected to the fleet server") {
		t.Error("it was greeted")
	}
	if err := client.Enrol(t.Context(), client.EnrolOptions{Dir: a.dir, Server: r.address, Code: r.code(), Machine: client.Machine{Name: "x"}}); !errors.Is(err, client.ErrDenied) {
		t.Errorf("the key of a machine that was put out enrols again: %v", err)
	}
	h, err := r.Host(a.ID())
	if err != nil || h.State != fleet.Revoked || h.Seen.Online {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestNothingIsLost: what cannot be recorded is not acknowledged, and comes again to the server that is restarted, and from the agent that is.
func TestNothingIsLost(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	a.next()
	r.found.mu.Lock()
	r.found.broken = true
	r.found.mu.Unlock()
	rec := spool.NewRecorder(a.spool, event.Host{Name: "laptop-17"}, time.Now)
	if err := rec.Record(t.Context(), finding("/1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refused", func() bool { h, _ := r.Host(a.ID()); return !h.Seen.Online })
	if a.spool.Waiting() != 1 {
		t.Fatal("acknowledged, and not on record")
	}
	r.stop()
	a.stop()
	r.found.mu.Lock()
	r.found.broken = false
	r.found.mu.Unlock()
	r.start()
	a.run()
	eventually(t, "on record", func() bool { return a.spool.Waiting() == 0 })
	if found := r.found.list(); len(found) != 1 || found[0].Program.Path != "/1" {
		t.Errorf("%d on record", len(found))
	}
	if got := a.next(); string(got.Policy) != policyText {
		t.Error("the policy was lost")
	}
}

// TestApplyFails: what cannot be brought into force is said, the policy before stays, and a good one after it is taken.
func TestApplyFails(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	a.run()
	good := a.next()
	r.source.set("v2", "nonsense", nil)
	eventually(t, "the server is told", func() bool { h, _ := r.Host(a.ID()); return h.Seen.Trouble != "" })
	if a.Current().Generation != good.Generation || string(a.Current().Policy) != policyText {
		t.Error("a broken policy is in force")
	}
	r.source.set("v3", policyText+"# better\n", nil)
	a.until(func(b client.Bundle) bool { return strings.HasSuffix(string(b.Policy), "better\n") })
	eventually(t, "the server is told", func() bool { h, _ := r.Host(a.ID()); return h.Seen.Trouble == "" })
}
