package scanned

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
	"github.com/chaperone-im/chaperone/internal/policy"
)

func compiled(t *testing.T, rules string) *policy.Policy {
	t.Helper()
	f, err := policy.Parse("policy.yaml", []byte("version: 1\nrules:\n"+rules))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(f, policy.Known{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestMemoryHoldsForOnePolicy, and until the moment at which its rules change by themselves.
func TestMemoryHoldsForOnePolicy(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	dir, now := t.TempDir(), time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	k := rescan.Key{Ino: 1}
	try := func(p *policy.Policy, host string, when time.Time) (known bool, why string) {
		t.Helper()
		m, why, err := OpenMemory(dir, p, c, host, when)
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			return false, why
		}
		known = m.Known(k)
		m.Clean(k, when)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		return known, why
	}
	all, evenings := compiled(t, "  - {id: a, apps: [\"*\"], verdict: block}\n"), compiled(t, "  - {id: a, programs: {format: [pe]}, hours: \"Mon-Fri 20:00-22:00\", verdict: block}\n")
	for i, c := range []struct {
		p    *policy.Policy
		host string
		when time.Time
		want bool
	}{
		{all, "h", now, false}, {all, "h", now.Add(time.Hour), true}, {all, "other", now, false}, {all, "other", now, true},
		{evenings, "other", now, false}, {evenings, "other", now.Add(time.Hour), true}, {evenings, "other", now.Add(9 * time.Hour), false},
	} {
		if got, _ := try(c.p, c.host, c.when); got != c.want {
			t.Errorf("%d: known %v", i, got)
		}
	}
	for _, rules := range []string{"  - {id: a, programs: {paths: [\"/x/*\"]}, verdict: block}\n", "  - {id: a, when: \"app == 'x'\", verdict: block}\n"} {
		if _, why := try(compiled(t, rules), "h", now); why == "" {
			t.Errorf("there is a memory by %s", rules)
		}
	}
}

func TestLeft(t *testing.T) {
	for _, c := range []struct {
		done, expected int64
		took           time.Duration
		want           string
	}{
		{1000, 4000, 10 * time.Second, ", about 30s left"}, {1000, 0, time.Minute, ""}, {5000, 4000, time.Minute, ""}, {10, 4000, time.Minute, ""},
		{1000, 4000, time.Second, ""}, {3999, 4000, time.Minute, ", about 1s left"},
	} {
		if got := Left(c.done, c.expected, c.took); got != c.want {
			t.Errorf("%d of %d in %s: %q", c.done, c.expected, c.took, got)
		}
	}
}

func TestOnBattery(t *testing.T) {
	for name, c := range map[string]struct {
		supplies map[string]map[string]string
		want     bool
	}{
		"none":         {nil, false},
		"discharging":  {map[string]map[string]string{"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, true},
		"charging":     {map[string]map[string]string{"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Charging"}}, false},
		"plugged":      {map[string]map[string]string{"ZC": {"type": "USB", "online": "1"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, false},
		"of the mouse": {map[string]map[string]string{"mouse": {"type": "Battery", "status": "Discharging", "scope": "Device"}}, false},
	} {
		sys := t.TempDir()
		for supply, attributes := range c.supplies {
			dir := filepath.Join(sys, "class/power_supply", supply)
			err := os.MkdirAll(dir, 0o755)
			for a, v := range attributes {
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, a), []byte(v+"\n"), 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := OnBattery(sys); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestBackground gives way, with all threads of this test.
func TestBackground(t *testing.T) {
	if err := Background(); err != nil {
		t.Fatal(err)
	}
	if nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err != nil || nice != 20-leastNice { // the call answers 20 less the value
		t.Errorf("%d, %v", nice, err)
	}
}
