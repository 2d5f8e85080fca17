package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long one step in the browser may take on a busy machine.
const patience = 2 * time.Minute

// tab is one page of a real browser.
type tab struct {
	t   *testing.T
	r   *rig
	ctx context.Context

	mu       sync.Mutex
	asked    []string // addresses that the browser asked for
	complain []string // what the browser logged
}

// browser starts Chromium, or skips the test where there is none.
func (r *rig) browser() *tab {
	r.t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CHAPERONE_CI") == "1" {
			r.t.Fatal("there is no chromium here, and CI must have one (apt install chromium)")
		}
		r.t.Skip("there is no chromium here (apt install chromium)")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-lcd-text", true), chromedp.WindowSize(1280, 900), chromedp.UserDataDir(r.t.TempDir()))...)
	r.t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(ctx)
	r.t.Cleanup(stop)
	b := &tab{t: r.t, r: r, ctx: ctx}
	b.do(chromedp.EmulateViewport(1280, 900))
	if _, err := chromedp.Call(b.ctx, log.Enable, struct{}{}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{}); err != nil {
		r.t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (b *tab) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	case *log.EventEntryAdded:
		b.complain = append(b.complain, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	}
}

// do runs steps and fails the test when one does not come to an end.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if chromedp.FromContext(b.ctx).Browser == nil {
		if err := chromedp.Do(b.ctx); err != nil { // the browser lives as long as the context of its first run
			b.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v on %s", err, b.text("h1"))
	}
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.r.server.URL + path))
}

func evaluate[T any](b *tab, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("evaluate: %v", err)
	}
	return v
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.TextContent(chromedp.CSS(selector)))
	if err != nil {
		return fmt.Sprintf("(no %s: %v)", selector, err)
	}
	return strings.Join(strings.Fields(s), " ")
}

// sees fails unless the main part of the page has all these words.
func (b *tab) sees(words ...string) {
	b.t.Helper()
	text := b.text("main")
	for _, w := range words {
		if !strings.Contains(text, w) {
			b.t.Errorf("the page does not show %q: %.600s", w, text)
		}
	}
}

// press clicks and waits for the page that follows.
func (b *tab) press(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("press %s: %v", selector, err)
	}
}

func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// wait waits until an expression of the page is true.
func (b *tab) wait(expression string) {
	b.t.Helper()
	script := `new Promise((good) => { const look = () => (` + expression + `) ? good(true) : setTimeout(look, 50); look(); })`
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise)); err != nil {
		b.t.Fatalf("%s never came: %v: %.400s %.600s", expression, err, b.text("main"), strings.Join(b.complaints(), "; "))
	}
}

func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complain)
}

func focusOn(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Focus(chromedp.CSS(selector))
}

func itoa(n int) string { return strconv.Itoa(n) }

// scripts lets the browser run scripts, or not.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) scheme(name string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) signIn(name string) {
	b.t.Helper()
	b.open("/link/" + must[string](b.t)(b.r.book.NewLink(name)))
	b.press("main button")
}

func (b *tab) purpose() {
	b.t.Helper()
	b.open("/events")
	b.do(chromedp.Click(chromedp.CSS(`input[value="Supervision review"]`)))
	b.fill(`input[name="note"]`, "case 7")
	b.press("main button")
}

// TestAPersonWorksWithoutScripts goes the way of somebody new, in a browser that runs no scripts.
func TestAPersonWorksWithoutScripts(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	b := r.browser()
	b.scripts(false)
	b.signIn("rita")
	b.sees("Today", "WhatsApp", "Telegram", "Who and what is content")

	b.press(`a[href="/settings"]`)
	b.fill(`input[name="password"]`, password)
	b.fill(`input[name="again"]`, password)
	b.press(`form[action="/settings/password"] button`)
	b.sees("The new password holds from now on")
	b.press("button.quiet")
	b.open("/person?who=alice")
	b.sees("Sign in")
	b.fill(`input[name="name"]`, "rita")
	b.fill(`input[name="password"]`, "not "+password)
	b.press("main button")
	b.sees("Not signed in: name, password or code is wrong.")
	b.fill(`input[name="name"]`, "rita")
	b.fill(`input[name="password"]`, password)
	b.press("main button")
	b.sees("Why do you look?")
	b.do(chromedp.Click(chromedp.CSS(`input[value="Complaint or incident"]`)))
	b.press("main button")
	b.sees("alice", "let's move this to WhatsApp", "157.240.0.60:443", "IMG_0042.exe")
	if nav := b.text(".purpose"); !strings.Contains(nav, "Complaint or incident") {
		t.Errorf("the purpose is %q", nav)
	}

	b.do(chromedp.Click(chromedp.CSS(".network .why:not(.more) summary")))
	b.do(chromedp.WaitVisible(chromedp.CSS(".network .why[open] table")))
	b.press(".entry.network .what a")
	b.sees("no-messengers", "The verdict was not carried out", "web.whatsapp.com", "AS32934")
	b.press(`a[href="/conversations"]`)
	b.press("main table a")
	b.sees("every version is kept")
	b.press(`a[href="/messengers"]`)
	b.sees("laptop-17", "laptop-22")
	b.press(`a[href="/events"]`)
	b.do(chromedp.SetValue(chromedp.CSS(`select[name="kind"]`), "file"))
	b.press("main form button")
	b.sees("offer.zip")
	b.fill("#q", "tranche"+kb.Enter)
	b.do(chromedp.WaitVisible(chromedp.CSS(`p[role="status"]`)))
	b.sees("2 records", "12.5 % on the second tranche")
	b.press(`a[href="/policy"]`)
	b.fill(`input[name="from"]`, "alice@example.org")
	b.fill(`input[name="text"]`, "4111 1111 1111 1111")
	b.press("main form button")
	b.sees("block by rule cards", "and decides")
	b.press(`nav a[href="/health"]`)
	b.sees("clamd does not answer", "Start clamav-daemon")
	b.press(`a[href="/ledger"]`)
	b.press("main form button")
	b.sees("NOT PROVEN", "records checked")
	b.quiet()
}

// quiet fails when the browser asked anybody else for anything, or logged an error.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.asked {
		if !strings.HasPrefix(a, b.r.server.URL+"/") && !strings.HasPrefix(a, "data:image/") { // our QR code, and what the browser draws its own fields with
			b.t.Errorf("the browser asked for %.200s", a)
		}
	}
	for _, c := range b.complain {
		if strings.Contains(c, "Autofocus processing was blocked") { // a test types sooner than a busy browser gives the first field its focus
			continue
		}
		if !strings.Contains(c, "status of 4") { // pages that say no are wanted here
			b.t.Errorf("the browser says %s", c)
		}
	}
	if len(b.asked) == 0 {
		b.t.Error("no request was seen")
	}
}

// focused describes what has the keyboard, and whether a person sees that.
type focused struct {
	Name, Outline string
	Top, Left     float64
	Order         int
}

const whatHasFocus = `(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
return {Name: e.tagName + " " + (e.textContent || e.name || e.ariaLabel || "").trim().slice(0, 40), Outline: s.outlineStyle + " " + s.outlineWidth, Top: r.top, Left: r.left,
Order: [...document.querySelectorAll("*")].indexOf(e)} })()`

func TestKeyboard(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	b := r.browser()
	b.signIn("rita")
	b.purpose()
	b.open("/")
	last := -1
	for i := range 60 {
		b.do(chromedp.KeyEvent(kb.Tab))
		f := evaluate[focused](b, whatHasFocus)
		if strings.HasPrefix(f.Name, "BODY") {
			if i < 20 {
				t.Errorf("the keyboard reaches only %d places", i)
			}
			break
		}
		if i == 0 && f.Name != "A Skip to the content" {
			t.Errorf("the first is %q", f.Name)
		}
		if f.Outline != "solid 3px" || f.Top < 0 || f.Left < 0 {
			t.Errorf("nobody sees that %q has the keyboard: %+v", f.Name, f)
		}
		if f.Order < last {
			t.Errorf("%q comes out of order", f.Name)
		}
		last = f.Order
	}
	b.open("/")
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab))
	if inside := evaluate[bool](b, `document.querySelector("main").contains(document.activeElement)`); !inside {
		t.Error("the skip link does not lead into the content")
	}
	b.open("/person?who=alice")
	b.do(chromedp.Focus(chromedp.CSS("details summary")), chromedp.KeyEvent(" "))
	if !evaluate[bool](b, `document.querySelector("details").open`) {
		t.Error("the space bar does not open the evidence")
	}
}

// shown is a page as somebody gets to it.
type shown struct {
	name string
	as   string // "" for nobody
	open func(b *tab)
}

func page(path string) func(b *tab) { return func(b *tab) { b.open(path) } }

// everyPage lists every page of the console in the states that people see.
func (r *rig) everyPage(moved, conversation, stopped string) []shown {
	flow := func(b *tab) {
		b.open("/events?kind=flow")
		b.press("tbody tr:nth-child(3) td.what a")
	}
	return []shown{
		{"sign-in", "", page("/signin")},
		{"link", "", page("/link/x")},
		{"overview-administrator", "adam", page("/")},
		{"accounts", "adam", func(b *tab) { b.open("/accounts"); b.press("main tbody tr:last-child button") }},
		{"fleet", "adam", page("/fleet")},
		{"fleet-host", "adam", func(b *tab) { b.open("/fleet"); b.press(`main a[href^="/fleet/host"]`) }},
		{"exceptions", "adam", page("/approvals")},
		{"campaigns", "adam", page("/campaigns")},
		{"learned", "adam", func(b *tab) { b.open("/learned"); b.do(chromedp.Click(chromedp.CSS("main details summary"))) }},
		{"fired", "adam", page("/fired?enforcer=fapolicyd")},
		{"campaign", "adam", func(b *tab) {
			b.open("/campaigns")
			b.do(chromedp.SetValue(chromedp.CSS(`main select[name="app"]`), "telegram"))
			b.fill(`main input[name="reason"]`, "the firm has its own chat")
			b.press("main form.stack button")
		}},
		{"forbidden", "adam", page("/events")},
		{"purpose", "cora", page("/events")},
		{"overview", "cora!", page("/")},
		{"messengers", "cora!", page("/messengers")},
		{"suspicious", "cora!", func(b *tab) {
			b.open("/suspicious")
			b.do(chromedp.Click(chromedp.CSS("main details summary")))
		}},
		{"people", "cora!", page("/people")},
		{"hosts", "cora!", page("/hosts")},
		{"person", "cora!", func(b *tab) {
			b.open("/person?who=alice")
			b.do(chromedp.Click(chromedp.CSS(".network .why:not(.more) summary")))
		}},
		{"conversations", "cora!", page("/conversations")},
		{"conversation", "cora!", page(conversation)},
		{"events", "cora!", page("/events")},
		{"record-message", "cora!", page("/record?id=" + moved)},
		{"record-flow", "cora!", flow},
		{"search", "cora!", page("/search?q=whatsapp")},
		{"search-nothing", "cora!", page("/search?q=zzz")},
		{"holds", "cora!", page("/holds")},
		{"hold", "cora!", page("/holds/place?kind=person&name=bob")},
		{"hold-preview", "cora!", func(b *tab) {
			b.open("/holds/place?kind=person&name=bob")
			b.fill(`input[name="matter"]`, "Meyer v. Firm")
			b.fill(`input[name="reason"]`, "letter of 3 November")
			b.press("main form button")
		}},
		{"release", "cora!", page("/holds/release?matter=" + url.QueryEscape("Meyer v. Firm"))},
		{"file-stopped", "cora!", page("/file?n=0&id=" + stopped)},
		{"policy", "cora!", func(b *tab) {
			b.open("/policy")
			b.fill(`input[name="from"]`, "alice@example.org")
			b.fill(`input[name="to"]`, "bob@other.org")
			b.fill(`input[name="text"]`, "Use the desk card: 4111 1111 1111 1111")
			b.press("main form button")
		}},
		{"health", "cora!", page("/health")},
		{"ledger", "cora!", func(b *tab) { b.open("/ledger"); b.press("main form button") }},
		{"settings", "cora!", page("/settings")},
		{"not-found", "cora!", page("/record?id=x")},
	}
}

// finding is a violation that axe reports.
type finding struct {
	ID, Help string
	Nodes    []struct{ Target []any }
}

// TestEveryPageIsAccessible lets axe look at every page, light and dark, wide and narrow, and takes the pictures of the manual when asked to
// (CHAPERONE_SCREENSHOTS=1).
func TestEveryPageIsAccessible(t *testing.T) {
	axe := string(must[[]byte](t)(os.ReadFile("testdata/axe.min.js")))
	r := newRig(t, noon)
	r.history()
	moved := r.tell()
	r.tellUnknown()
	s, _ := r.fleet()
	r.plenty(s)
	r.programs(s.Grant)
	if err := r.holds.Place(t.Context(), "cora", "Meyer v. Firm", "letter of 3 November", retention.Scope{Kind: retention.Person, Name: "alice"}, retention.Scope{Kind: retention.Room, Name: "desk@rooms.example.org"}); err != nil {
		t.Fatal(err)
	}
	stopped := r.file("Invoice 4711.pdf", []byte("EICAR"), func(e *event.Event) {
		e.Verdict = event.Verdict{Action: event.Block, Rule: "malware", Enforced: true, Policy: r.rules.Policy.Version()}
		e.Hits = []event.Hit{{Inspector: "malware", Name: "Eicar-Test-Signature", Count: 1, Confidence: event.Exact, File: "Invoice 4711.pdf", Version: "clamav 1.4"}}
	})
	b := r.browser()
	who := ""
	for _, p := range r.everyPage(string(moved.ID), "/conversation?id="+url.QueryEscape(r.conversationOf(moved)), string(stopped)) {
		if p.as != who {
			b.become(p.as)
			who = p.as
		}
		p.open(b)
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.judge(axe, p.name+" "+scheme)
			b.picture(p.name + "-" + scheme)
		}
		b.narrow(axe, p.name)
	}
	b.quiet()
}

// become signs in as somebody, with a purpose where the name ends in "!".
func (b *tab) become(name string) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, network.ClearBrowserCookies, struct{}{}); err != nil {
		b.t.Fatal(err)
	}
	if name == "" {
		return
	}
	b.signIn(strings.TrimSuffix(name, "!"))
	if strings.HasSuffix(name, "!") {
		b.purpose()
	}
}

// judge runs axe on the page as it is. The site's own policy allows no script; what a debugger evaluates is not the site's.
func (b *tab) judge(axe, name string) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: axe}); err != nil {
		b.t.Fatal(err)
	}
	raw := evaluate[string](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify({Passed: r.passes.length, Violations: r.violations}))`)
	var found struct {
		Passed     int
		Violations []finding
	}
	if err := json.Unmarshal([]byte(raw), &found); err != nil || found.Passed < 10 {
		b.t.Fatalf("%s: axe passed %d rules: %v", name, found.Passed, err)
	}
	for _, f := range found.Violations {
		b.t.Errorf("%s: %s (%s): %.400v", name, f.ID, f.Help, f.Nodes)
	}
}

// narrow looks at the page as a telephone shows it: nothing reaches over the edge.
func (b *tab) narrow(axe, name string) {
	b.t.Helper()
	b.scheme("light")
	b.do(chromedp.EmulateViewport(400, 800))
	if over := evaluate[float64](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		b.t.Errorf("%s: %g pixels reach over the edge of a narrow screen", name, over)
	}
	b.judge(axe, name+" narrow")
	if name == "overview" || name == "person" || name == "conversation" {
		b.picture(name + "-narrow")
	}
	b.do(chromedp.EmulateViewport(1280, 900))
}
