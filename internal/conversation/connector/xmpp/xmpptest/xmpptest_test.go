package xmpptest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

func TestClientsTalkThroughProsodyAlone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := StartProsody(ctx, t.TempDir(), "example.org", map[string]string{"alice": "wonder", "bob": "builder"})
	if errors.Is(err, ErrMissing) && os.Getenv("CHAPERONE_CI") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	alice, err := Dial(ctx, Login{Address: p.Address, JID: "alice@example.org/desk", Password: "wonder", TLS: p.TLS()})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
	defer alice.Close()
	bob, err := DialRaw(ctx, Login{Address: p.Address, JID: "bob@example.org", Password: "builder", TLS: p.TLS()})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
	defer bob.Close()
	if err := bob.Bind(ctx, "desk"); err != nil {
		t.Fatal(err)
	}
	if err := alice.Say(ctx, bob.JID, "m1", "hello & welcome"); err != nil {
		t.Fatal(err)
	}
	m, err := bob.Await(ctx, "message")
	if err != nil || m.Body() != "hello & welcome" {
		t.Fatalf("%v %+v", err, m)
	}
	if p.PID() == 0 {
		t.Error("no process id")
	}
}
