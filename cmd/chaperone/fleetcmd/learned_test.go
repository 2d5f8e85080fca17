package fleetcmd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// decide is what the policy in force on a machine says of a program.
func decide(set *rules.Set, sum, publisher string) event.Verdict {
	now := time.Now()
	e := &event.Event{Kind: event.ProgramRun, Time: now, Content: event.Content{Program: &event.Program{Path: "/x", SHA256: sum, Publisher: publisher}}}
	return set.Policy.Decide(&policy.Input{Event: e, Now: now, Final: true})
}

// until waits for something of the house.
func (h *house) until(what string, done func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatal(what)
		}
	}
}

// learned: what lockdown would stop is proposed by publisher and package, and once accepted the machine has it approved.
func (h *house) learned(remote event.Recorder, data string) {
	h.t.Helper()
	sums := []string{strings.Repeat("c1", 32), strings.Repeat("c2", 32), strings.Repeat("c3", 32)}
	for i, p := range []event.Program{{Path: "/opt/tool/bin/x", SHA256: sums[0]}, {Path: "/opt/tool/lib/y.so", SHA256: sums[1]}, {Path: "/home/a/z.exe", SHA256: sums[2], Publisher: "CN=Maker, O=Maker, C=DE"}} {
		err := remote.Record(h.t.Context(), &event.Event{Kind: event.ProgramRun, Time: time.Now().Add(time.Duration(i-5) * time.Second), Connector: "agent", Verdict: event.Verdict{Action: event.Block, Rule: "lockdown"}, Content: event.Content{Program: &p}})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	shown := ""
	h.until("nothing is learned", func() bool {
		shown = h.admin(0, "learned")
		return strings.Contains(shown, "/opt/tool") && strings.Contains(shown, "CN=Maker") && regexp.MustCompile(`/opt/tool +2 `).MatchString(shown)
	})
	host, err := os.Hostname()
	if err != nil {
		h.t.Fatal(err)
	}
	id := func(kind string) string {
		found := regexp.MustCompile(`(?m)^([0-9a-f]{12}) +` + kind).FindStringSubmatch(shown)
		if found == nil {
			h.t.Fatalf("no %s in:\n%s", kind, shown)
		}
		return found[1]
	}
	h.has(h.admin(2, "learned", "--accept", id("package")), "nobody is named")
	h.has(h.admin(0, "learned", "--accept", id("package"), "--host", host), sums[0], sums[1])
	h.has(h.admin(0, "learned", "--accept", id("publisher"), "--host", host), "publisher CN=Maker")
	h.has(h.admin(0, "learned"), "nothing was learned")
	h.until("the machine does not have what was accepted", func() bool {
		set, err := fleetcmd.InForce(h.t.Context(), data)
		if err != nil {
			h.t.Fatal(err)
		}
		return decide(set, sums[0], "").Rule != policy.OtherwiseRule && decide(set, strings.Repeat("d", 64), "CN=Maker, O=Maker, C=DE").Rule != policy.OtherwiseRule
	})
}

// firedOf: what fapolicyd on the machine says it stopped is known on the server as the exported rule.
func (h *house) firedOf(log string) {
	h.t.Helper()
	line := "rule=1 dec=deny_syslog perm=execute uid=0 auid=-1 pid=7 exe=/usr/bin/dash : path=/usr/bin/telegram-desktop ftype=application/x-executable trust=0\n"
	if err := os.WriteFile(log, []byte(line), 0o600); err != nil {
		h.t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		h.t.Fatal(err)
	}
	want := `"key":"path=/usr/bin/telegram-desktop","app":"telegram","rule":"no-messengers","times":1,`
	h.until("the rule never fired", func() bool {
		var out bytes.Buffer
		if err := control.Do(h.t.Context(), filepath.Join(h.dir, "data"), "execution.fired", struct{}{}, nil, &out); err != nil {
			h.t.Fatal(err)
		}
		return strings.Contains(out.String(), want) && strings.Contains(out.String(), `"hosts":["`+host+`"]`)
	})
}
