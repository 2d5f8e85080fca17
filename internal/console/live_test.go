package console_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// TestVendoredFilesAreThoseOfTheLock: what is served is what was published, byte for byte, and nothing lies beside it.
func TestVendoredFilesAreThoseOfTheLock(t *testing.T) {
	dir := filepath.Join("static", "lib")
	var lock []struct {
		Name, Version, Integrity, Licence string
		Files                             []struct{ File, From, SHA256 string }
	}
	if err := json.Unmarshal(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "lock.json"))), &lock); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"lock.json": true}
	for _, p := range lock {
		if p.Name == "" || p.Version == "" || p.Licence == "" || !strings.HasPrefix(p.Integrity, "sha512-") {
			t.Errorf("the lock says too little of %+v", p)
		}
		licence := false
		for _, f := range p.Files {
			sum := sha256.Sum256(must[[]byte](t)(os.ReadFile(filepath.Join(dir, f.File))))
			if hex.EncodeToString(sum[:]) != f.SHA256 {
				t.Errorf("%s is not what the lock says", f.File)
			}
			known[f.File] = true
			licence = licence || strings.Contains(f.File, "LICENSE")
		}
		if !licence {
			t.Errorf("%s lies here without its licence", p.Name)
		}
	}
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		if !known[e.Name()] {
			t.Errorf("%s is not in the lock", e.Name())
		}
	}
}

// watcher is a page that listens.
type watcher struct {
	t      *testing.T
	status int
	lines  *bufio.Scanner
	stop   func()
}

func (v *visitor) watch(path string) *watcher {
	v.r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	req := must[*http.Request](v.r.t)(http.NewRequestWithContext(ctx, http.MethodGet, v.r.server.URL+path, nil))
	resp, err := v.client.Do(req) //nolint:bodyclose // stop closes it, at the latest when the test ends
	if err != nil {
		cancel()
		v.r.t.Fatal(err)
	}
	w := &watcher{v.r.t, resp.StatusCode, bufio.NewScanner(resp.Body), func() { cancel(); resp.Body.Close() }}
	v.r.t.Cleanup(w.stop)
	return w
}

// next returns the next event and what it carries; "" at the end.
func (w *watcher) next() (name string, data map[string]any) {
	w.t.Helper()
	for w.lines.Scan() {
		line := w.lines.Text()
		if after, ok := strings.CutPrefix(line, "event: "); ok {
			name = after
		}
		if after, ok := strings.CutPrefix(line, "data: "); ok && after != "" {
			if err := json.Unmarshal([]byte(after), &data); err != nil {
				w.t.Fatalf("%q: %v", line, err)
			}
		}
		if line == "" && name != "" {
			return name, data
		}
	}
	return "", nil
}

// until returns the next event of that name.
func (w *watcher) until(name string) map[string]any {
	w.t.Helper()
	for {
		got, data := w.next()
		if got == name {
			return data
		}
		if got == "" {
			w.t.Fatalf("the stream ended before %s", name)
		}
	}
}

// TestLiveNumbers: a page hears of what is new, in numbers and words of health, whoever looks, and nothing else.
func TestLiveNumbers(t *testing.T) {
	r := newRig(t, noon)
	moved := r.tell()
	w := r.as("adam").watch("/live")
	first := w.until("live-numbers")
	if first["health"] != "degraded" || first["blocked"].(float64) < 1 {
		t.Errorf("at first it says %v", first)
	}
	for _, want := range []string{"live-counts", "live-health", "live-details", "live-ledger"} {
		if got, _ := w.next(); got != want {
			t.Errorf("then %q, want %q", got, want)
		}
	}
	r.board.Set("journal", health.Failed, "the disk of Alice is full", "")
	if now := w.until("live-numbers"); now["health"] != "failed" {
		t.Errorf("after a failure it says %v", now)
	}
	w.until("live-health")
	before := r.frames()
	r.record(message(at(14, 29, 0), "alice", "one more", person("bob")))
	if now := w.until("live-numbers"); now["judged"].(float64) <= first["judged"].(float64) && w.until("live-numbers")["judged"].(float64) <= first["judged"].(float64) {
		t.Errorf("after a message it says %v", now)
	}
	if got := r.actsSince(before); len(got) != 0 {
		t.Errorf("watching numbers is on record: %v", actions(got))
	}
	talk := r.reading("rita").watch("/live?conversation=" + url.QueryEscape(r.conversationOf(moved)))
	if now := talk.until("live-numbers"); now["messages"].(float64) < 2 {
		t.Errorf("of a conversation it says %v", now)
	}
	for key, value := range first {
		if _, number := value.(float64); !number && key != "health" {
			t.Errorf("%s is %v", key, value)
		}
	}
}

// TestALookPerConversationNotPerSecond: following a conversation is one look, however often its number is asked for.
func TestALookPerConversationNotPerSecond(t *testing.T) {
	r := newRig(t, noon)
	id := r.conversationOf(r.tell())
	v := r.reading("rita")
	before := r.frames()
	w := v.watch("/live?conversation=" + url.QueryEscape(id))
	n := w.until("live-numbers")["messages"].(float64)
	for i := range 3 {
		r.record(message(at(14, 29, i), "alice", "more", person("bob")))
		for w.until("live-numbers")["messages"].(float64) < n+float64(i)+1 {
		}
	}
	looks := 0
	for _, a := range r.actsSince(before) {
		if a.Act.Action == "content.read" {
			looks++
		}
	}
	if looks != 1 {
		t.Errorf("%d looks", looks)
	}
	if now := r.as("adam").watch("/live?conversation=" + url.QueryEscape(id)).until("live-numbers"); now["messages"] != nil {
		t.Error("who administers hears of a conversation")
	}
}

// TestLiveStreamsEnd: with the session, with the server, and above the bound they do not begin.
func TestLiveStreamsEnd(t *testing.T) {
	r := newRig(t, noon)
	if w := r.visitor().watch("/live"); w.status != http.StatusUnauthorized {
		t.Errorf("a stranger got %d", w.status)
	}
	v := r.as("rita")
	var open []*watcher
	for range 8 {
		w := v.watch("/live")
		w.until("live-numbers")
		open = append(open, w)
	}
	if w := v.watch("/live"); w.status != http.StatusTooManyRequests {
		t.Errorf("the ninth page of a session got %d", w.status)
	}
	other := r.as("cora").watch("/live")
	other.until("live-numbers")
	want(t, v.post("/signout"), http.StatusSeeOther)
	for _, w := range open {
		for name, _ := w.next(); name != ""; name, _ = w.next() {
		}
	}
	r.web.Stop()
	for name, _ := other.next(); name != ""; name, _ = other.next() {
	}
	if w := r.as("cora").watch("/live"); w.status != http.StatusTooManyRequests {
		t.Errorf("after the end a stream got %d", w.status)
	}
	r.web.Stop() // again is no harm
}

// TestAPageLeftOpenEndsWithItsSession: what a page does by itself is no use of the session.
func TestAPageLeftOpenEndsWithItsSession(t *testing.T) {
	r := newRig(t, noon)
	v := r.as("rita")
	ask := func() answer {
		req := must[*http.Request](t)(http.NewRequest(http.MethodGet, r.server.URL+"/", nil))
		req.Header.Set("HX-Request", "true")
		return v.do(req)
	}
	want(t, ask(), http.StatusOK, "Today")
	r.setNow(func() time.Time { return noon.Add(50 * time.Minute) })
	want(t, ask(), http.StatusOK, "Today")
	r.setNow(func() time.Time { return noon.Add(70 * time.Minute) })
	if a := ask(); a.status != http.StatusUnauthorized || strings.Contains(a.body, "<") {
		t.Errorf("after the end of the session: %d %s", a.status, a.body)
	}
}

// TestPagesMoveByThemselves goes through the live pages in a real browser: htmx under Trusted Types, and no complaint of the browser.
func TestPagesMoveByThemselves(t *testing.T) {
	r := newRig(t, noon)
	moved := r.tell()
	b := r.browser()
	b.signIn("rita")
	b.purpose()
	b.open("/")
	b.wait(`document.querySelector("#live:not([hidden])")`)
	blocked := evaluate[int](b, `Number(document.querySelector('[data-live="blocked"]').textContent)`)
	b.do(focusOn(`#today section a`))
	r.record(message(at(14, 20, 0), "bob", "4111 1111 1111 1111", event.Party{Handle: "caterer@other.org"}), whatsapp(at(14, 21, 0), laptop("laptop-99", "10.0.0.99", "dora")))
	b.wait(`Number(document.querySelector('[data-live="blocked"]').textContent) > ` + itoa(blocked))
	b.wait(`document.querySelector("#today").textContent.includes("laptop-99")`) // the list of what was stopped, through htmx
	if !evaluate[bool](b, `document.activeElement.closest("#today section") !== null`) {
		t.Error("the keyboard lost its place when the page moved")
	}
	r.board.Set("journal", health.Failed, "the disk is full", "Make room.")
	b.wait(`document.querySelector('nav [data-live="health"]').textContent === "failed"`)
	b.wait(`document.querySelector("#today").textContent.includes("the disk is full")`)

	b.open("/conversation?id=" + url.QueryEscape(r.conversationOf(moved)))
	b.wait(`document.querySelector("#live:not([hidden])")`)
	r.record(message(at(14, 25, 0), "alice", "still here?", person("bob")))
	b.wait(`!document.querySelector("#news").hidden`)
	if said := b.text("#news"); said != "1 new message: show" {
		t.Errorf("it says %q", said)
	}
	r.record(message(at(14, 25, 1), "bob", "yes", person("alice")))
	b.wait(`document.querySelector("#news").textContent.startsWith("2 new messages")`)
	b.press("#news a")
	b.sees("still here?", "yes")

	b.open("/messengers")
	b.wait(`document.querySelector("#live:not([hidden])")`)
	r.record(whatsapp(at(14, 26, 0), laptop("laptop-98", "10.0.0.98", "emil")))
	b.wait(`document.querySelector("#seen").textContent.includes("laptop-98")`)
	b.open("/health")
	r.board.Set("disk", health.Degraded, "nearly full", "Make room.")
	b.wait(`document.querySelector("#items").textContent.includes("nearly full")`)
	b.open("/ledger")
	frames := evaluate[int](b, `Number(document.querySelector('[data-live="frames"]').textContent)`)
	r.record(message(at(14, 27, 0), "alice", "and more", person("bob")))
	b.wait(`Number(document.querySelector('[data-live="frames"]').textContent) > ` + itoa(frames))
	b.quiet()
}
