package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestParseWanted(t *testing.T) {
	for text, good := range map[string]bool{
		"3": true, "tcp 10.0.0.7:1 192.0.2.1:443": true, "udp [2001:db8::7]:1 [2001:db8::1]:443": true,
		"": false, "0": false, "-1": false, "x": false, "tcp 10.0.0.7:1": false, "tcp a b": false, "dccp 10.0.0.7:1 192.0.2.1:443": false, "tcp 10.0.0.7:1 192.0.2.1:443 x": false,
	} {
		if _, err := parseWanted(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestInTimeOrder: by the first packets; what cannot be read comes last, where reading it says why.
func TestInTimeOrder(t *testing.T) {
	dir := t.TempDir()
	if err := writeCaptures(dir); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("text"), []byte("no capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := inTimeOrder([]string{path("text"), path("a-second.pcapng"), path("missing"), path("b-first.pcapng")})
	if want := []string{path("b-first.pcapng"), path("a-second.pcapng"), path("text"), path("missing")}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if at, err := firstPacket(path("b-first.pcapng")); err != nil || !at.Equal(time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("%v, %v", at, err)
	}
}

// TestExplainChangesNothing: what is explained is neither recorded nor a finding.
func TestExplainChangesNothing(t *testing.T) {
	r := &recorder{}
	var out bytes.Buffer
	c := inspectCmd{Explain: "tcp 10.0.0.7:40021 149.154.167.51:443", Captures: []string{demoCapture(t)}, recorder: r}
	if err := c.Run(&env{ctx: t.Context(), out: &out, errOut: &out}); err != nil {
		t.Fatal(err)
	}
	if len(r.events) > 0 || out.Len() == 0 {
		t.Errorf("%d events, %q", len(r.events), out.String())
	}
	c.Interface, c.Captures = "lo", nil
	var h hinted
	if err := c.Run(&env{ctx: t.Context(), out: &out, errOut: &out}); err == nil || errors.As(err, &h) {
		t.Errorf("an interface was explained: %v", err)
	}
}

// TestExplainEveryFlow: each flow of the capture can be asked for by its number.
func TestExplainEveryFlow(t *testing.T) {
	capture := demoCapture(t)
	for n := range 7 {
		status, out, errOut := command(t, "inspect", "--json", "--explain", string(rune('1'+n)), capture)
		list := lines(t, out)
		if status != 0 || len(list) != 1 || list[0]["number"] != float64(n+1) {
			t.Errorf("%d: status %d, %s %s", n+1, status, out, errOut)
		}
	}
}
