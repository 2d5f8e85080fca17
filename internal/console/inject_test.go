package console_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
)

const withSource = `<script src="data:text/javascript,window.ran='data'"></script>`

// injections are what somebody would write who had found a hole in our templates.
const injections = `
<script>window.ran = "inline"</script>
` + withSource + `
<script nonce="guess">window.ran = "nonce"</script>
<img src="x" onerror="window.ran = 'handler'">
<svg onload="window.ran = 'svg'"></svg>
<a id="bad" href="javascript:window.ran='address'">x</a>
<iframe srcdoc="<script>parent.ran = 'frame'</script>"></iframe>
<object data="data:text/html,<script>window.ran='object'</script>"></object>
<style>#main { display: none }</style>
<p id="styled" style="position: fixed">x</p>
<base href="https://evil.example/">
<div hx-get="/settings?by=1" hx-trigger="load" hx-target="#main"></div>
<div hx-get="/settings?by=2" hx-trigger="load" hx-nonce="guess"></div>
<div hx-on:load="window.ran = 'hx'" hx-trigger="load" hx-vals="js:{a: window.ran = 'vals'}" hx-get="/settings?by=3"></div>
<div data-hx-get="/settings?by=4" data-hx-trigger="load"></div>
<div hx-sse:connect="/settings?by=5"></div>
<div sse-connect="/settings?by=6"></div>
<link rel="stylesheet" href="https://evil.example/x.css">
<img src="https://evil.example/pixel">
`

// broken puts markup into every page, as broken templates would.
func (r *rig) broken(markup string) {
	r.t.Helper()
	ours := r.server.Config.Handler
	r.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/hx-csp.min.js") {
			time.Sleep(300 * time.Millisecond) // what guards htmx comes late, and htmx waits for it
		}
		if req.URL.Path == "/live" {
			ours.ServeHTTP(w, req)
			return
		}
		markup := markup
		if req.Header.Get("HX-Request") != "" { // htmx refuses all of an answer with such an element: it cannot set its source
			markup = strings.Replace(markup, withSource, "", 1)
		}
		rec := httptest.NewRecorder()
		ours.ServeHTTP(rec, req)
		for key, values := range rec.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(rec.Code)
		w.Write([]byte(strings.NewReplacer("</main>", markup+"</main>", `hx-trigger="live-`, `data-x="" hx-trigger="live-`, "<h2 id=\"happened\">", markup+"<h2 id=\"happened\">").Replace(rec.Body.String())))
	}))
	r.t.Cleanup(r.server.Close)
	r.t.Cleanup(r.web.Stop)
}

// TestInjectionsDoNothing: even where a template is broken, in a page and in what htmx fetches again, a browser runs and asks nothing.
func TestInjectionsDoNothing(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	b := r.browser()
	b.signIn("rita")
	b.purpose()
	r.broken(injections)
	b.open("/")
	b.wait(`document.querySelector("#live:not([hidden])")`)
	b.wait(`document.querySelectorAll("#today").length === 1`) // one page, not one in another; there is none while htmx changes it
	r.board.Set("journal", health.Failed, "the disk is full", "Make room.")
	b.wait(`document.querySelector("#today").textContent.includes("the disk is full")`) // through htmx, with all that was injected
	b.wait(`document.querySelectorAll("#bad").length > 0`)
	evaluate[bool](b, `document.querySelector("#bad").click(), true`)
	if ran := evaluate[string](b, `String(window.ran)`); ran != "undefined" {
		t.Errorf("a script ran: %s", ran)
	}
	if how := evaluate[string](b, `getComputedStyle(document.querySelector("#main")).display + getComputedStyle(document.querySelector("#styled")).position`); strings.Contains(how, "none") || strings.Contains(how, "fixed") {
		t.Errorf("a style was applied: %s", how)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.asked {
		if strings.HasPrefix(a, "https://evil.example") && !strings.Contains(a, "pixel") && !strings.Contains(a, "x.css") || strings.Contains(a, "/settings") {
			t.Errorf("the browser asked for %s", a)
		}
	}
}

// TestSinksAreClosed tries, in a live page, what a script of somebody else would try.
func TestSinksAreClosed(t *testing.T) {
	r := newRig(t, noon)
	b := r.browser()
	b.signIn("adam")
	b.open("/")
	b.wait(`document.querySelector("#live:not([hidden])")`)
	for name, script := range map[string]string{
		"innerHTML":        `document.body.innerHTML = "<img src=x onerror='window.ran=1'>"`,
		"outerHTML":        `document.querySelector("main").outerHTML = "<b>x</b>"`,
		"adjacent":         `document.body.insertAdjacentHTML("beforeend", "<b>x</b>")`,
		"write":            `document.write("<b>x</b>")`,
		"parser":           `new DOMParser().parseFromString("<b>x</b>", "text/html")`,
		"unsafe parser":    `Document.parseHTMLUnsafe("<b>x</b>")`,
		"fragment":         `document.createRange().createContextualFragment("<b>x</b>")`,
		"frame":            `document.createElement("iframe").srcdoc = "<b>x</b>"`,
		"script text":      `document.createElement("script").text = "window.ran=1"`,
		"script source":    `document.createElement("script").src = "/static/live.js"`,
		"another policy":   `trustedTypes.createPolicy("x", {createHTML: s => s})`,
		"the policy again": `trustedTypes.createPolicy("htmx", {createHTML: s => s})`,
		"default policy":   `trustedTypes.createPolicy("default", {createHTML: s => s})`,
	} {
		if got := evaluate[string](b, `(() => { try { `+script+`; return "done" } catch (e) { return e.name } })()`); got != "TypeError" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if ran := evaluate[string](b, `String(window.ran)`); ran != "undefined" {
		t.Errorf("a script ran: %s", ran)
	}
	got := evaluate[string](b, `fetch("https://evil.example/").then(() => "reached", e => e.name)`)
	if got != "TypeError" {
		t.Errorf("another host: %s", got)
	}
	if b.text("main h1") != "Today" {
		t.Errorf("the page is %q", b.text("main"))
	}
}
