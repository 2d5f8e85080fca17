package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// contentPages are the pages that show what people wrote or did.
var contentPages = []string{"/people", "/hosts", "/person?who=alice", "/conversations", "/conversation?id=x", "/events", "/record?id=x", "/search?q=x", "/suspicious"}

// everybodysPages are those that show none of it to who gave no purpose.
var everybodysPages = []string{"/", "/messengers", "/policy", "/health", "/ledger", "/settings"}

func TestEveryAnswerIsGuarded(t *testing.T) {
	r := newRig(t, noon)
	rita, adam := r.reading("rita"), r.as("adam")
	answers := []answer{r.visitor().get("/signin"), r.visitor().get("/link/x"), r.visitor().get("/"), r.visitor().get("/nothing"), rita.get("/nothing"), adam.get("/people"), adam.get("/accounts"),
		r.visitor().get("/static/console.css"), rita.get("/?x=%zz"), rita.get("/link/" + strings.Repeat("x", 5000))}
	for _, p := range append(contentPages, everybodysPages...) {
		answers = append(answers, rita.get(p))
	}
	nonces := map[string]bool{}
	for _, a := range answers {
		policy := a.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "style-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("the content policy lacks %q: %s", part, policy)
			}
		}
		for _, loose := range []string{"unsafe", "*", "strict-dynamic", "script-src 'self'", "http:", "https:", "allow-duplicates"} {
			if strings.Contains(policy, loose) {
				t.Errorf("the content policy has %q: %s", loose, policy)
			}
		}
		switch nonce := nonceOf(a); {
		case nonce == "":
			if strings.Contains(policy, "script-src") || strings.Contains(policy, "connect-src") || !strings.Contains(policy, "trusted-types 'none'") {
				t.Errorf("a page without scripts allows some: %s", policy)
			}
		case len(nonce) < 22 || nonces[nonce]:
			t.Errorf("the nonce %q can be known before", nonce)
		case !strings.HasSuffix(policy, "; script-src 'nonce-"+nonce+"'; connect-src 'self'; trusted-types htmx"):
			t.Errorf("the content policy of a live page is %s", policy)
		default:
			nonces[nonce] = true
		}
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			if a.header.Get(name) != value {
				t.Errorf("%s is %q", name, a.header.Get(name))
			}
		}
		if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("a page may be kept: %q", a.header.Get("Cache-Control"))
		}
	}
	if len(nonces) < len(everybodysPages) {
		t.Errorf("%d pages are live", len(nonces))
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	r := newRig(t, noon)
	v := r.as("adam")
	for _, path := range []string{"/accounts", "/accounts/link", "/ledger/verify", "/settings/password", "/settings/totp", "/signout", "/signin", "/policy", "/link/x"} {
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			req := must[*http.Request](t)(http.NewRequest(http.MethodPost, r.server.URL+path, strings.NewReader("name=eve&role=reviewer")))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set(name, value)
			want(t, v.do(req), http.StatusForbidden, "Another site sent this form")
		}
		req := must[*http.Request](t)(http.NewRequest(http.MethodPost, r.server.URL+path, strings.NewReader("name=eve&role=reviewer")))
		req.Header.Set("Origin", strings.Replace(r.server.URL, "https:", "http:", 1))
		want(t, v.do(req), http.StatusForbidden, "Another site sent this form")
	}
	if n := len(r.book.List()); n != 3 {
		t.Errorf("%d accounts", n)
	}
	want(t, v.get("/"), http.StatusOK)
	big := v.post("/settings/password", "password", strings.Repeat("x", 1<<20))
	want(t, big, http.StatusBadRequest, "too large")
}

func TestWhoAdministersDoesNotRead(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	adam := r.as("adam")
	for _, p := range append(contentPages, "/holds") {
		a := adam.get(p)
		want(t, a, http.StatusForbidden, "Not for your role")
		lacks(t, a, "alice", "laptop-17")
	}
	want(t, adam.post("/purpose", "purpose", "Supervision review"), http.StatusForbidden)
	for _, p := range everybodysPages {
		a := adam.get(p)
		want(t, a, http.StatusOK)
		if p != "/policy" { // whose form has alice@example.org as an example
			lacks(t, a, "alice", "bob", "laptop-17", "10.0.0.17", "WhatsApp\"")
		}
		lacks(t, a, `href="/people"`, `href="/events"`, `name="q"`)
	}
	want(t, adam.get("/messengers"), http.StatusOK, "WhatsApp", "Telegram", "who it was is content")
	want(t, adam.get("/messengers?app=whatsapp"), http.StatusOK)
}

func TestWhoReadsDoesNotAdminister(t *testing.T) {
	r := newRig(t, noon)
	for _, name := range []string{"rita", "cora"} {
		v := r.reading(name)
		want(t, v.get("/accounts"), http.StatusForbidden, "Not for your role")
		want(t, v.post("/accounts", "name", "eve", "role", "counsel"), http.StatusForbidden)
		want(t, v.post("/accounts/link", "name", "adam"), http.StatusForbidden)
		lacks(t, v.get("/"), `href="/accounts"`)
	}
	want(t, r.reading("rita").get("/holds"), http.StatusForbidden, "counsel")
	lacks(t, r.reading("rita").get("/"), `href="/holds"`)
}

func TestEveryLookIsRecordedBeforeItIsAnswered(t *testing.T) {
	r := newRig(t, noon)
	moved := r.tell()
	v := r.as("rita")
	before := r.frames()
	for _, p := range append(contentPages, "/record?id="+string(moved.ID)) {
		a := v.get(p)
		want(t, a, http.StatusOK, "Why do you look?")
		lacks(t, a, "laptop-17", "WhatsApp", "bob")
	}
	if n := len(r.actsSince(before)); n != 0 {
		t.Errorf("%d acts without a purpose", n)
	}
	want(t, v.post("/purpose", "purpose", "Curiosity"), http.StatusBadRequest, "Choose one of the purposes")
	want(t, v.post("/purpose", "purpose", "Supervision review", "note", strings.Repeat("x", 2000)), http.StatusBadRequest, "The note is too long")
	want(t, v.post("/purpose", "purpose", "Supervision review", "note", "case 7", "back", "/events"), http.StatusSeeOther)
	for path, object := range map[string]string{
		"/events":                        "events",
		"/events?kind=message":           `events kind=["message"] `,
		"/people":                        "people",
		"/person?who=alice":              "timeline alice",
		"/record?id=" + string(moved.ID): "record " + string(moved.ID),
		"/search?q=WhatsApp":             "search WhatsApp",
		"/conversations":                 "conversations",
		"/messengers?app=telegram":       "messengers telegram  ",
		"/conversation?id=" + url.QueryEscape(r.conversationOf(moved)): "conversation " + r.conversationOf(moved),
	} {
		before := r.frames()
		want(t, v.get(path), http.StatusOK, "You read for <b>Supervision review: case 7</b>")
		found := false
		for _, a := range r.actsSince(before) {
			if a.Act.Action != archive.ActRead || a.From.Handle != "rita" || a.Act.Purpose != "Supervision review: case 7" {
				t.Errorf("%s: the act is %+v by %q", path, a.Act, a.From.Handle)
			}
			found = found || strings.HasPrefix(a.Act.Object, strings.TrimSpace(object))
		}
		if !found {
			t.Errorf("%s: no act about %q", path, object)
		}
	}
	v.post("/signout")
	again := r.as("rita")
	want(t, again.get("/events"), http.StatusOK, "Why do you look?")
}

// conversationOf returns the id of the conversation that a message is in.
func (r *rig) conversationOf(e *event.Event) string {
	r.t.Helper()
	page := r.reading("cora").get("/conversations?who=" + url.QueryEscape(e.From.Handle))
	m := regexp.MustCompile(`/conversation\?id=([^"]+)"`).FindStringSubmatch(page.body)
	if m == nil {
		r.t.Fatalf("no conversation in %s", page.body)
	}
	return must[string](r.t)(url.QueryUnescape(m[1]))
}

func TestTheStoryIsTold(t *testing.T) {
	r := newRig(t, noon)
	moved := r.tell()
	v := r.reading("rita")
	want(t, v.get("/"), http.StatusOK, "Needs a look", "clamd does not answer", "Stopped last", "offer.zip")
	line := v.get("/person?who=alice")
	want(t, line, http.StatusOK, "move this to WhatsApp", "157.240.0.60:443", "IMG_0042.exe", "change-of-venue", "conversation", "network", "endpoint", "Tuesday 24 November 2026", "asked for g.whatsapp.net.", "monitored")
	if text, flow := strings.Index(line.body, "move this to"), strings.Index(line.body, "157.240.0.60:443"); flow > text {
		t.Error("the newest does not come first")
	}
	want(t, v.get("/conversation?id="+url.QueryEscape(r.conversationOf(moved))), http.StatusOK,
		"12 % on the second tranche", "12.5 % on the second tranche, not 12", "retraction", "took the message back", "👍", "handed-over")
	want(t, v.get("/record?id="+string(moved.ID)), http.StatusOK, "change-of-venue", "lexicon", "review by rule venue", "stream local, frame", "alice@example.org")
	want(t, v.get("/events?kind=flow"), http.StatusOK, "WhatsApp chat", "Telegram call", "monitored")
	want(t, v.get("/events?plane=endpoint"), http.StatusOK, "IMG_0042.exe")
	want(t, v.get("/events?day=2026-11-24&verdict=block"), http.StatusOK, "4111")
	lacks(t, v.get("/events?day=2026-11-23"), "4111")
	want(t, v.get("/events?day=2026-11-23"), http.StatusOK, "Nothing on record fits")
	want(t, v.get("/search?q=tranche"), http.StatusOK, "2 records", `value="tranche"`)
	want(t, v.get("/search?q="+url.QueryEscape(`"broken`)), http.StatusOK, "query, character")
	want(t, v.get("/hosts"), http.StatusOK, "laptop-17", "10.0.0.22", "/person?who=alice")
	want(t, v.get("/record?id="+string(moved.ID)), http.StatusOK, url.QueryEscape(r.conversationOf(moved)))
	want(t, v.get("/people?who=LAPTOP-22"), http.StatusOK, "bob")
	lacks(t, v.get("/people?who=LAPTOP-22"), "alice")
	want(t, v.get("/messengers"), http.StatusOK, "By host and person", "laptop-17")
}

func TestWhatIsNotThereIsSaid(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	v := r.reading("rita")
	for _, p := range []string{"/nothing", "/record?id=x", "/record", "/conversation?id=x", "/person?who=nobody", "/person", "/record?id=%00", "/static/", "/static/nothing.css", "/static/../templates/layout.html"} {
		a := v.get(p)
		if a.status == http.StatusTemporaryRedirect || a.status == http.StatusMovedPermanently {
			a = v.get(a.header.Get("Location"))
		}
		if !strings.HasPrefix(p, "/static") {
			want(t, a, http.StatusNotFound, "Nothing on record has that name or id", "<title>Not found · Chaperone</title>")
		} else {
			want(t, a, http.StatusNotFound)
		}
	}
	for _, p := range []string{"/events?kind=x", "/events?verdict=x", "/events?plane=x", "/events?day=x", "/person?who=alice&day=24.11.2026"} {
		want(t, v.get(p), http.StatusBadRequest, "That did not work")
	}
	for _, p := range []string{"/events?cursor=x", "/person?who=alice&cursor=x", "/conversations?cursor=%ff", "/search?q=a&cursor=x"} {
		if a := v.get(p); a.status == http.StatusOK {
			t.Errorf("%s: a made-up cursor gave a page", p)
		} else {
			lacks(t, a, "sqlite", "SQL")
		}
	}
}

func TestPartsFollowEachOther(t *testing.T) {
	r := newRig(t, noon)
	var events []*event.Event
	for i := range 130 {
		events = append(events, message(at(9, i/60, i%60), "alice", "message number "+string(rune('a'+i%26))+"-"+strings.Repeat("i", i), person("bob")))
	}
	for i := 0; i < len(events); i += 10 {
		r.record(events[i : i+10]...)
	}
	v := r.reading("rita")
	older := regexp.MustCompile(`<a href="([^"]+)" rel="next">Older</a>`)
	for _, start := range []string{"/events?kind=message", "/search?q=message", "/person?who=alice", "/conversation?id=" + url.QueryEscape(r.conversationOf(events[0]))} {
		seen := map[string]bool{}
		page := start
		for range 5 {
			a := v.get(page)
			want(t, a, http.StatusOK)
			for _, m := range regexp.MustCompile(`/record\?id=([0-9a-f-]+)`).FindAllStringSubmatch(a.body, -1) {
				seen[m[1]] = true
			}
			m := older.FindStringSubmatch(a.body)
			if m == nil {
				break
			}
			page = strings.ReplaceAll(m[1], "&amp;", "&")
			want(t, v.get(page), http.StatusOK, "Newest")
		}
		if len(seen) != len(events) {
			t.Errorf("%s: %d of %d records", start, len(seen), len(events))
		}
	}
}

func TestPolicyExplains(t *testing.T) {
	r := newRig(t, noon)
	v := r.as("adam")
	want(t, v.get("/policy"), http.StatusOK, "no-messengers", "Rules in order")
	before := r.frames()
	want(t, v.post("/policy", "from", "alice@example.org", "to", "bob@other.org", "text", "4111 1111 1111 1111"), http.StatusOK, `<span class="verdict block">block</span> by rule <b>cards</b>`, "payment-card", "and decides")
	want(t, v.post("/policy", "app", "whatsapp"), http.StatusOK, "by rule <b>no-messengers</b>", "monitored")
	want(t, v.post("/policy", "text", "see you at lunch"), http.StatusOK, "by rule <b>otherwise</b>")
	if r.frames() != before {
		t.Error("asking was recorded as if it had happened")
	}
}

func TestLedgerIsVerifiedNow(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	v := r.as("adam")
	before := r.frames()
	want(t, v.post("/ledger/verify"), http.StatusOK, "NOT PROVEN", "records checked")
	if got := actions(r.actsSince(before)); len(got) != 1 || got[0] != "ledger.verify" {
		t.Errorf("on record: %v", got)
	}
	want(t, v.get("/ledger"), http.StatusOK, "chaperone/test", "Acknowledged outside", "never", "Last checkpoint")
}

func TestAccounts(t *testing.T) {
	r := newRig(t, noon)
	v := r.as("adam")
	want(t, v.get("/accounts"), http.StatusOK, "rita", "reviewer", "not set")
	before := r.frames()
	a := v.post("/accounts", "name", "new.person", "role", "reviewer")
	want(t, a, http.StatusOK, "One-time link of new.person", "is not shown again")
	if got := actions(r.actsSince(before)); strings.Join(got, " ") != "account.create account.link" {
		t.Errorf("on record: %v", got)
	}
	link := regexp.MustCompile(`https://[^/]+(/link/[A-Za-z0-9_-]+)`).FindStringSubmatch(a.body)
	if link == nil {
		t.Fatalf("no link in %s", a.body)
	}
	lacks(t, v.get("/accounts"), link[1])
	fresh := r.visitor()
	want(t, fresh.post(link[1]), http.StatusSeeOther)
	want(t, fresh.get("/people"), http.StatusOK, "Why do you look?")
	before = r.frames()
	want(t, v.post("/accounts", "name", "rita", "role", "reviewer"), http.StatusOK, "an account of that name exists")
	want(t, v.post("/accounts", "name", "x", "role", "emperor"), http.StatusOK, "Choose a role")
	want(t, v.post("/accounts", "name", "", "role", "reviewer"), http.StatusOK, "Nothing was changed")
	if got := r.frames(); got != before {
		t.Errorf("what was refused is on record as done: %v", actions(r.actsSince(before)))
	}
	want(t, v.post("/accounts/link", "name", "nobody"), http.StatusOK, "no account of that name")
}

func TestHoldsAreForCounsel(t *testing.T) {
	r := newRig(t, noon)
	cora := r.reading("cora")
	want(t, cora.get("/holds"), http.StatusOK, "Nothing is held")
	err := r.holds.Place(t.Context(), "cora", "Meyer v. Firm", "letter of 3 November", retention.Scope{Kind: retention.Person, Name: "alice"}, retention.Scope{Kind: retention.Room, Name: "desk@rooms.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	before := r.frames()
	want(t, r.reading("cora").get("/holds"), http.StatusOK, "Meyer v. Firm", "alice", "letter of 3 November", `/person?who=alice`)
	if got := actions(r.actsSince(before)); !strings.Contains(strings.Join(got, " "), archive.ActRead) {
		t.Errorf("on record: %v", got)
	}
	want(t, r.as("cora").get("/holds"), http.StatusOK, "Why do you look?")
}

// TestACursorOfNoListIsSaid: an address that somebody cut short is their mistake, not ours.
func TestACursorOfNoListIsSaid(t *testing.T) {
	r := newRig(t, noon)
	moved := r.tell()
	v := r.reading("rita")
	for _, p := range []string{"/events?cursor=x", "/conversations?cursor=x", "/person?who=alice&cursor=2026", "/search?q=*&cursor=x", "/conversation?cursor=x&id=" + url.QueryEscape(r.conversationOf(moved))} {
		want(t, v.get(p), http.StatusBadRequest, "That did not work", "Open the list again")
	}
}
