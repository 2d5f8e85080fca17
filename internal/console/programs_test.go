package console_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/server/execution"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// programs gives the console the sums of what runs on machines: three learned programs, and rules of fapolicyd and Santa of which two fired.
func (r *rig) programs(grant func(context.Context, string, fleet.Approval) (fleet.Approval, error)) *execution.Desk {
	r.t.Helper()
	sums := must[*execution.Tally](r.t)(execution.Open(r.dir, clock.Func(r.now), slog.New(slog.DiscardHandler)))
	to := sums.Recorder(r.recorder)
	run := func(path, sum, publisher, host string, ago time.Duration) *event.Event {
		e := &event.Event{ID: event.NewID(), Kind: event.ProgramRun, Time: r.now().Add(-ago), Connector: "agent", Host: event.Host{Name: host}, Verdict: event.Verdict{Action: event.Block, Rule: "lockdown"}}
		e.Program = &event.Program{Path: path, SHA256: strings.Repeat(sum, 32), Publisher: publisher}
		return e
	}
	stopped := func(enforcer, key, host string, ago time.Duration) *event.Event {
		e := run("/usr/bin/x", "ff", "", host, ago)
		e.Verdict = event.Verdict{Action: event.Block, Rule: "none", Enforced: true}
		e.Evidence = []event.Evidence{{Fact: "enforcer:" + enforcer, Value: key}}
		return e
	}
	day := 24 * time.Hour
	if err := to.Record(r.t.Context(), run("/opt/measure/bin/measure", "a1", "", "laptop-17", 20*day), run("/opt/measure/lib/<b>plot</b>.so", "a2", "", "laptop-18", 3*day), run("/home/alice/bin/report.py", "a3", "", "laptop-17", 2*day),
		run(`C:\Tools\Sign.exe`, "a4", "CN=Example Ltd, O=Example Ltd, C=GB", "desk-4", day),
		stopped("fapolicyd", "path=/usr/bin/telegram-desktop", "laptop-17", 5*day), stopped("fapolicyd", "path=/opt/other", "laptop-18", day), stopped("santa", "TEAMID:6N38VWS5BX", "mac-<i>2</i>", day)); err != nil {
		r.t.Fatal(err)
	}
	d := &execution.Desk{Tally: sums, Acts: r.acts, Grant: grant, Plan: func([]export.Found) *export.Plan { return exporttest.Plan(r.t, exporttest.Policy, export.Options{}) }}
	r.web.Programs = execution.Pages{Desk: d}
	return d
}

// TestProgramsAreTheAdministrators: nobody else sees or decides, and it is said where there are no sums.
func TestProgramsAreTheAdministrators(t *testing.T) {
	r := newRig(t, noon)
	adam, rita := r.as("adam"), r.reading("rita")
	for _, p := range []string{"/learned", "/fired"} {
		want(t, adam.get(p), http.StatusBadRequest, "keeps no sums")
	}
	want(t, adam.post("/learned", "what", "accept"), http.StatusBadRequest)
	d := r.programs(nil)
	for _, p := range []string{"/learned", "/fired"} {
		want(t, rita.get(p), http.StatusForbidden)
		want(t, adam.get(p), http.StatusOK)
		if strings.Contains(rita.get("/").body, `href="`+p+`"`) || !strings.Contains(adam.get("/").body, `href="`+p+`"`) {
			t.Errorf("the menu shows %s to the wrong people", p)
		}
	}
	id := d.Learned()[0].ID
	want(t, rita.post("/learned", "what", "dismiss", "id", id, "reason", "x"), http.StatusForbidden)
	foreign := must[*http.Request](t)(http.NewRequest(http.MethodPost, r.server.URL+"/learned", strings.NewReader("what=dismiss&reason=x&id="+id)))
	foreign.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	want(t, adam.do(foreign), http.StatusForbidden, "Another site")
	if len(d.Learned()) != 3 {
		t.Error("somebody decided who may not")
	}
}

// TestFiredPage: of each exported rule the page says whether it ever fired, and what enforcers stop that nobody exported.
func TestFiredPage(t *testing.T) {
	r := newRig(t, noon)
	r.programs(nil)
	adam := r.as("adam")
	all := adam.get("/fired")
	want(t, all, http.StatusOK, "path=/usr/bin/telegram-desktop", "dir=/media/", "not exported", "TEAMID:6N38VWS5BX", "mac-&lt;i&gt;2&lt;/i&gt;", "Telegram", "laptop-17")
	never, fired, other := adam.get("/fired?show=never").text(), adam.get("/fired?show=fired").text(), adam.get("/fired?show=other&enforcer=fapolicyd").text()
	if strings.Contains(never, "telegram-desktop ") || !strings.Contains(never, "dir=/media/") || strings.Contains(never, "/opt/other") {
		t.Errorf("never fired:\n%s", never)
	}
	if !strings.Contains(fired, "telegram-desktop") || !strings.Contains(fired, "/opt/other") || strings.Contains(fired, "dir=/media/") {
		t.Errorf("fired:\n%s", fired)
	}
	if !strings.Contains(other, "/opt/other") || strings.Contains(other, "telegram-desktop") || strings.Contains(other, "TEAMID") {
		t.Errorf("other:\n%s", other)
	}
	want(t, adam.get("/fired?enforcer=nobody"), http.StatusOK, "No rule fits")
}

// TestLearnedPage: a proposal is accepted as it was shown, by a form alone, and the machine may run it; another is dismissed. Each is an act
// before it is done.
func TestLearnedPage(t *testing.T) {
	r := newRig(t, noon)
	s, m := r.fleet()
	d := r.programs(s.Grant)
	adam := r.as("adam")
	before := r.frames()
	page := adam.get("/learned")
	want(t, page, http.StatusOK, "/opt/measure", "/opt/measure/lib/&lt;b&gt;plot&lt;/b&gt;.so", strings.Repeat("a1", 32), "CN=Example Ltd", "report.py", "ready", "3 proposals")
	form := regexp.MustCompile(`name="id" value="([0-9a-f]+)"><input type="hidden" name="digest" value="([0-9a-f]+)"`)
	digests := map[string]string{}
	for _, f := range form.FindAllStringSubmatch(page.body, -1) {
		digests[f[1]] = f[2]
	}
	ids := map[string]string{}
	for _, p := range d.Learned() {
		ids[p.Kind] = p.ID
	}
	accept := func(kind, digest string, pairs ...string) answer {
		return adam.post("/learned", append([]string{"what", "accept", "id", ids[kind], "digest", digest, "kind", "host"}, pairs...)...)
	}
	want(t, accept("package", digests[ids["package"]], "days", "30"), http.StatusOK, "name the host")
	want(t, accept("package", strings.Repeat("0", 64), "name", "laptop-17", "days", "30"), http.StatusOK, "other files by now")
	want(t, accept("package", digests[ids["package"]], "name", "laptop-17", "days", "0"), http.StatusOK, "It was not done")
	want(t, accept("package", digests[ids["package"]], "name", "laptop-17", "days", "none"), http.StatusOK, "It was not done")
	want(t, adam.post("/learned", "what", "burn", "id", ids["file"]), http.StatusOK, "accepted or dismissed")
	want(t, adam.post("/learned", "what", "dismiss", "id", ids["file"]), http.StatusOK, "say why")
	want(t, adam.post("/learned", "what", "dismiss", "id", "none", "reason", "x"), http.StatusOK, "no proposal of that id")
	r.acts.set(context.DeadlineExceeded)
	want(t, adam.post("/learned", "what", "dismiss", "id", ids["file"], "reason", "x"), http.StatusOK, "could not be recorded")
	want(t, accept("package", digests[ids["package"]], "name", "laptop-17", "days", "30"), http.StatusOK, "could not be recorded")
	r.acts.set(nil)
	if n := len(d.Learned()); n != 3 {
		t.Fatalf("%d proposals are left, and nothing was decided", n)
	}

	want(t, accept("package", digests[ids["package"]], "name", "laptop-17", "days", "30", "reason", "the lab"), http.StatusSeeOther)
	r.until("the machine has both files", func() bool { return len(m.Current().Approvals) == 2 })
	want(t, adam.get("/approvals"), http.StatusOK, "host laptop-17", "the lab")
	want(t, adam.post("/learned", "what", "dismiss", "id", ids["file"], "reason", "a game"), http.StatusSeeOther)
	left := adam.get("/learned").text()
	if strings.Contains(left, "/opt/measure") || strings.Contains(left, "report.py") || !strings.Contains(left, "CN=Example Ltd") {
		t.Errorf("left is:\n%s", left)
	}
	done := map[string]int{}
	for _, e := range r.actsSince(before) {
		done[e.Act.Action]++
	}
	if done["learned.dismiss"] != 1 || done["approval.grant"] != 2 {
		t.Errorf("on record is %v", done)
	}
}

// TestManyLearned: pages are bounded.
func TestManyLearned(t *testing.T) {
	r := newRig(t, noon)
	d := r.programs(nil)
	to := d.Tally.Recorder(r.recorder)
	var many []*event.Event
	for i := range 400 {
		e := &event.Event{ID: event.NewID(), Kind: event.ProgramRun, Time: noon, Connector: "agent", Host: event.Host{Name: "a"}, Verdict: event.Verdict{Action: event.Block, Rule: "lockdown"}}
		path := fmt.Sprintf("/home/a/f%d", i)
		if i < 50 {
			path = fmt.Sprintf("/opt/big/f%d", i)
		}
		e.Program = &event.Program{Path: path, SHA256: fmt.Sprintf("%064x", i)}
		many = append(many, e)
	}
	if err := to.Record(t.Context(), many...); err != nil {
		t.Fatal(err)
	}
	adam := r.as("adam")
	want(t, adam.get("/learned"), http.StatusOK, "And 54 more. Decide", "And 30 more files", "nobody to approve for")
}

// plenty are machines with all that the pages of the fleet show: a campaign that goes on, one that waits, and approvals.
func (r *rig) plenty(s *fleet.Server) {
	r.t.Helper()
	ctx, until := r.t.Context(), clock.System{}.Now().Add(30*24*time.Hour)
	for _, a := range []fleet.Approval{{Subject: fleet.OneHost, Name: "laptop-17", App: "signal", Reason: "the works council", Until: until}, {Subject: fleet.OnePerson, Name: "alice", App: "whatsapp", Reason: "customer in Brazil, until the contract ends", Until: until}} {
		must[fleet.Approval](r.t)(s.Grant(ctx, "adam", a))
	}
	must[fleet.Campaign](r.t)(s.Plan(ctx, "adam", fleet.Campaign{App: "telegram", Action: protocol.QuarantineOrder, Reason: "clean up"}, nil))
}
