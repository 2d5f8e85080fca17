package execution_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/server/execution"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

type recorder struct {
	events []*event.Event
	err    error
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	if r.err == nil {
		r.events = append(r.events, events...)
	}
	return r.err
}

func open(t *testing.T, dir string) *execution.Tally {
	t.Helper()
	x, err := execution.Open(dir, clock.System{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func at(hour int) time.Time { return time.Date(2026, 11, 1, hour, 0, 0, 0, time.UTC) }

func blocked(enforcer, key, host string, hour int) *event.Event {
	return &event.Event{Kind: event.ProgramRun, Time: at(hour), Host: event.Host{Name: host},
		Content: event.Content{Program: &event.Program{Path: "/x"}, Evidence: []event.Evidence{{Fact: "enforcer:" + enforcer, Value: key}}}}
}

func learned(path, sum, publisher, host string, hour int) *event.Event {
	return &event.Event{Kind: event.ProgramRun, Time: at(hour), Host: event.Host{Name: host}, Verdict: event.Verdict{Action: event.Block, Rule: "lockdown"},
		Content: event.Content{Program: &event.Program{Path: path, SHA256: sum, Publisher: publisher}}}
}

func sum(n int) string { return fmt.Sprintf("%064x", n) }

func record(t *testing.T, to event.Recorder, events ...*event.Event) {
	t.Helper()
	if err := to.Record(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
}

// TestFired: of each exported rule is known whether it fired and when last, over a restart; what was not recorded does not count.
func TestFired(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	next := &recorder{}
	to := x.Recorder(next)
	record(t, to, blocked("fapolicyd", "sha256hash="+sum(1)+" path=/usr/bin/telegram-desktop", "a", 1), blocked("fapolicyd", "path=/snap/skype/1/skype", "b", 2),
		blocked("fapolicyd", "path=/snap/skype/1/skype", "a", 5), blocked("fapolicyd", "path=/opt/other", "c", 3), blocked("santa", "TEAMID:6N38VWS5BX", "m", 4))
	next.err = errors.New("disk full")
	if err := to.Record(t.Context(), blocked("fapolicyd", "path=/usr/bin/signal-desktop", "a", 6)); err == nil {
		t.Error("the error is kept back")
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := x.Run(ctx); err != nil {
		t.Fatal(err)
	}
	plan := exporttest.Plan(t, exporttest.Policy, export.Options{})
	found := map[string]execution.Fired{}
	for _, f := range open(t, dir).Fired("", plan) {
		found[f.Enforcer+" "+f.Key] = f
	}
	for key, want := range map[string]execution.Fired{
		"fapolicyd path=/usr/bin/telegram-desktop": {Type: "rule", App: "telegram", Rule: "none", Times: 1, Last: at(1), Hosts: []string{"a"}},
		"fapolicyd dir=/snap/skype/":               {Type: "rule", App: "skype", Rule: "none", Times: 2, Last: at(5), Hosts: []string{"b", "a"}},
		"fapolicyd dir=/media/":                    {Type: "rule", Rule: "sticks"},
		"fapolicyd path=/opt/other":                {Type: "other", Times: 1, Last: at(3), Hosts: []string{"c"}},
		"santa TEAMID:6N38VWS5BX":                  {Type: "rule", App: "telegram", Rule: "none", Times: 1, Last: at(4), Hosts: []string{"m"}},
	} {
		got := found[key]
		want.Enforcer, want.Key, _ = strings.Cut(key, " ")
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n%+v\n%+v", key, got, want)
		}
	}
	if len(x.Fired("santa", plan)) >= len(found) {
		t.Error("one format is not less than all")
	}
}

// TestProposals: what would be stopped is proposed by publisher, by folder of a package, and by file; accepting it writes the approvals.
func TestProposals(t *testing.T) {
	x, acts := open(t, t.TempDir()), &recorder{}
	to := x.Recorder(&recorder{})
	record(t, to, learned("/home/a/one", sum(1), "CN=Maker", "a", 1), learned("/home/b/two", sum(2), "CN=Maker", "b", 2), learned("/opt/tool/bin/x", sum(3), "", "a", 3),
		learned("/opt/tool/lib/y.so", sum(4), "", "a", 4), learned("/home/a/script", sum(5), "", "a", 5), learned("/home/a/script", sum(5), "", "a", 6))
	enforced := learned("/home/a/no", sum(6), "", "a", 1)
	enforced.Verdict.Enforced = true
	other := learned("/home/a/no", sum(7), "", "a", 1)
	other.Verdict.Rule = "otherwise"
	record(t, to, enforced, other)
	var granted []fleet.Approval
	var refuse error
	d := &execution.Desk{Tally: x, Acts: acts, Plan: func(found []export.Found) *export.Plan {
		return exporttest.Plan(t, exporttest.Policy, export.Options{Found: found})
	},
		Grant: func(_ context.Context, by string, a fleet.Approval) (fleet.Approval, error) {
			if a.By = by; refuse == nil {
				granted = append(granted, a)
			}
			return a, refuse
		}}
	ids := map[string]string{}
	var shown []string
	for _, p := range d.Learned() {
		ids[p.Kind] = p.ID
		shown = append(shown, fmt.Sprintf("%s %s %d files %d starts %s", p.Kind, p.Name, len(p.Files), p.Times, strings.Join(p.Hosts, "+")))
		if !p.Ready.Equal(at(1).Add(14 * 24 * time.Hour)) {
			t.Errorf("ready at %v", p.Ready)
		}
	}
	if got := strings.Join(shown, "\n"); got != "publisher CN=Maker 2 files 2 starts a+b\n"+
		"package /opt/tool 2 files 2 starts a\nfile /home/a/script 1 files 2 starts a" && got != "publisher CN=Maker 2 files 2 starts a+b\nfile /home/a/script 1 files 2 starts a\npackage /opt/tool 2 files 2 starts a" {
		t.Errorf("proposed:\n%s", got)
	}
	decide := func(a execution.DecideArgs) error { _, err := d.Decide(t.Context(), "eve", a); return err }
	refuse = errors.New("no such group")
	if err := decide(execution.DecideArgs{ID: ids["package"]}); !errors.Is(err, refuse) || len(d.Learned()) != 3 {
		t.Errorf("a proposal that was not accepted is gone: %v", err)
	}
	refuse = nil
	for _, kind := range []string{"publisher", "package"} {
		if err := decide(execution.DecideArgs{ID: ids[kind], Subject: fleet.OneGroup, Name: "desk", For: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if len(granted) != 3 || granted[0].Publisher != "CN=Maker" || granted[0].SHA256 != "" || granted[1].SHA256 != sum(3) || granted[2].SHA256 != sum(4) || granted[2].By != "eve" || granted[2].Reason != "learned: package /opt/tool" {
		t.Errorf("%+v", granted)
	}
	acts.err = errors.New("disk full")
	if err := decide(execution.DecideArgs{ID: ids["file"], Dismiss: true}); err == nil {
		t.Error("it was dismissed off the record")
	}
	acts.err = nil
	if err := decide(execution.DecideArgs{ID: ids["file"], Dismiss: true, Reason: "a game"}); err != nil || len(acts.events) != 1 || len(d.Learned()) != 0 {
		t.Errorf("%v, %d acts, %+v", err, len(acts.events), d.Learned())
	}
	if err := decide(execution.DecideArgs{ID: ids["file"]}); !errors.Is(err, execution.ErrNoProposal) {
		t.Error(err)
	}
}

// TestOperations: the same over the control socket, for administrators alone.
func TestOperations(t *testing.T) {
	x := open(t, t.TempDir())
	record(t, x.Recorder(&recorder{}), learned("/opt/tool/bin/x", sum(3), "", "a", 3))
	d := &execution.Desk{Tally: x, Acts: &recorder{}, Plan: func(found []export.Found) *export.Plan {
		return exporttest.Plan(t, exporttest.Policy, export.Options{Found: found})
	}}
	id := d.Learned()[0].ID
	for _, c := range []struct{ name, args, want, wrong string }{
		{"execution.fired", `{"format":"santa"}`, `"enforcer":"santa"`, ""},
		{"execution.fired", `{"format":"fapolicyd","found":[{"SHA256":"` + sum(9) + `","App":"telegram","Format":"elf","Confidence":990}]}`, `"key":"sha256hash=` + sum(9) + `"`, ""},
		{"execution.learned", `{}`, `"name":"/opt/tool"`, ""},
		{"execution.decide", `{"id":"` + id + `"}`, "", "serves no fleet"},
		{"execution.decide", `{"id":"none"}`, "", "no proposal"},
	} {
		var out bytes.Buffer
		err := d.Operations().Run(t.Context(), c.name, &control.Call{Args: []byte(c.args), Out: &out, Caller: control.Caller{Account: "eve", Roles: []control.Role{control.Administrator}}})
		if !strings.Contains(out.String(), c.want) || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s %s: %v\n%.300s", c.name, c.args, err, out.String())
		}
	}
}
