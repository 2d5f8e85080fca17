package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
	"golang.org/x/net/html"
)

// hostileTexts are what somebody may write, or call themselves, to reach whoever reads it.
func hostileTexts() map[string]string {
	return map[string]string{
		"script":    `<script>alert(1)</script>`,
		"attribute": `" onmouseover="alert(1)" x="`,
		"single":    `' autofocus onfocus='alert(1)`,
		"image":     `<img src=x onerror=alert(1)>`,
		"address":   `javascript:alert(1)//@example.org`,
		"data":      `data:text/html,<script>alert(1)</script>`,
		"style":     `</style><style>body{display:none}</style>`,
		"close":     `</main></body></html><form action="https://evil.example"><input name=password>`,
		"template":  `{{.Data}} {{template "main"}}`,
		"turned":    "invoice\u202egpj.exe \u2066hidden\u2069",
		"control":   "a\x01b\x1b[31mred\x7f\u009b",
		"bytes":     "caf\xe9 \xff\xfe <b>",
		"entity":    `&lt;script&gt;&#60;script&#62;`,
		"long":      strings.Repeat("W", 30_000) + "<script>",
		"many":      strings.Repeat("é👍\u0301 ", 6_000),
		"refresh":   `<meta http-equiv="refresh" content="0;url=https://evil.example">`,
		"htmx":      `<div hx-get="/accounts" hx-trigger="load" hx-swap-oob="true"></div><hx-partial hx-target="#main">x</hx-partial>`,
		"nonce":     `x" nonce="guess" hx-nonce="guess" hx-on:load="alert(1)`,
		"base":      `<base href="https://evil.example/">`,
	}
}

// hostileEvents carry one text in every field that a person or a foreign machine fills.
func hostileEvents(text string) []*event.Event {
	p := event.Party{Handle: cutBytes(text, 1000), Person: cutBytes(text, 300), Name: text, Groups: []string{cutBytes(text, 100)}}
	host := event.Host{Name: cutBytes(text, 500), Address: cutBytes(text, 40), Person: cutBytes(text, 300)}
	verdict := event.Verdict{Action: event.Block, Rule: "cards", Say: text, Reason: text, Obligations: []event.Obligation{{Kind: event.Review, Rule: "venue", Queue: cutBytes(text, 100)}}, Also: []string{"other"}, Policy: "0123"}
	evidence := []event.Evidence{{Fact: cutBytes(text, 100), Value: text, Strength: event.High, Source: text}}
	hits := []event.Hit{{Inspector: "lexicon", Name: cutBytes(text, 100), File: text, Count: 1, Version: cutBytes(text, 100)}}
	missed := []event.NotInspected{{Inspector: "malware", Reason: event.ReasonEncrypted, File: text}}
	base := func(k event.Kind) *event.Event {
		return &event.Event{ID: event.NewID(), Kind: k, Time: at(10, 0, 0), Connector: "office", From: p, To: []event.Party{p}, Host: host, Verdict: verdict}
	}
	message, room, file, flow, question, program, web := base(event.Message), base(event.Message), base(event.FileUpload), base(event.FlowSeen), base(event.DNSQuery), base(event.FindingHit), base(event.WebRequest)
	message.Content = event.Content{Text: text, Subject: text, Hits: hits, NotChecked: missed, Evidence: evidence, Explanation: text, Audience: []event.Party{p}}
	room.Content = event.Content{Text: text}
	room.Room, room.To = event.Room{Name: cutBytes(text, 1000)}, nil
	file.Files = []event.File{{Name: text, Type: cutBytes(text, 100), SHA256: cutBytes(text, 64), Size: 1, URL: text}}
	flow.Flow = &event.Flow{Proto: "tcp", Client: cutBytes(text, 60), Server: cutBytes(text, 60), App: cutBytes(text, 60), Service: cutBytes(text, 60), Name: text, JA4: text, ALPN: text, Capture: text}
	question.Question = &event.Question{Name: text, Type: "A", Client: cutBytes(text, 60), App: "whatsapp", Answers: []string{text}}
	program.Program = &event.Program{Path: text, Inside: text, App: "whatsapp", Form: text, Format: text, Version: text, Publisher: text, SHA256: text}
	program.Evidence = evidence
	web.Web = &event.Web{Method: "GET", URL: text, App: "whatsapp"}
	edit := base(event.Edit)
	edit.Refers, edit.Content = message.ID, event.Content{Text: text}
	reaction := base(event.Reaction)
	reaction.Refers, reaction.Content = message.ID, event.Content{Text: text}
	act := &event.Event{ID: event.NewID(), Kind: event.Act, Time: at(10, 0, 1), Connector: "console", From: event.Party{Handle: cutBytes(text, 1000)}, Content: event.Content{Act: &event.ActDetail{Action: "signin.refused", Object: text, Purpose: text, Details: []event.Fact{{Name: cutBytes(text, 100), Value: text}}}}}
	return []*event.Event{message, room, file, flow, question, program, web, edit, reaction, act}
}

func cutBytes(s string, most int) string { return s[:min(len(s), most)] }

// TestHostileTextIsInertOnEveryPage parses every page as a browser would, and looks for what none of ours has.
func TestHostileTextIsInertOnEveryPage(t *testing.T) {
	r := newRig(t, noon)
	var events []*event.Event
	for name, text := range hostileTexts() {
		events = append(events, hostileEvents(text)...)
		r.board.Set("gateway "+name, "degraded", text, text)
	}
	for _, e := range events {
		e.Received = e.Time
		if err := r.recorder.Record(t.Context(), e); err != nil {
			t.Fatalf("record %s: %v", e.Kind, err)
		}
	}
	r.sync()
	for _, text := range hostileTexts() {
		f := event.Flow{Proto: "tcp", Client: cutBytes(text, 60), Server: "203.0.113.9:443", Service: cutBytes(text, 60), Bytes: 1 << 20, Packets: 9}
		r.observe(at(11, 0, 0), event.Host{Name: cutBytes(text, 500), Address: cutBytes(text, 40), Person: cutBytes(text, 300)}, f)
		if err := r.holds.Place(t.Context(), "cora", strings.ToValidUTF8(cutBytes(text, 300), "?"), "reason "+strings.ToValidUTF8(cutBytes(text, 300), "?"), retention.Scope{Kind: retention.Person, Name: strings.ToValidUTF8(cutBytes(text, 300), "?")}); err != nil {
			t.Fatal(err)
		}
	}
	v := r.reading("cora")
	pages := []string{"/", "/messengers", "/people", "/hosts", "/conversations", "/events", "/events?kind=act", "/events?kind=reaction", "/holds", "/suspicious", "/policy", "/health", "/ledger", "/settings", "/search?q=*"}
	for _, e := range events {
		pages = append(pages, "/record?id="+string(e.ID))
		if len(e.Files) > 0 {
			pages = append(pages, "/file?n=0&id="+string(e.ID))
		}
	}
	for _, text := range hostileTexts() {
		q := url.QueryEscape(cutBytes(text, 3000))
		pages = append(pages, "/holds/place?kind=person&matter="+q+"&name="+q, "/holds/release?matter="+url.QueryEscape(strings.ToValidUTF8(cutBytes(text, 300), "?")), "/suspicious?days="+q, "/file?n=0&id="+q, "/person?who="+q, "/search?q="+q, "/people?who="+q, "/conversations?who="+q, "/messengers?app="+q, "/events?kind="+q, "/events?app="+q, "/signin?back="+q, "/conversation?id="+q, "/events?cursor="+q, "/"+url.PathEscape(cutBytes(text, 200)))
	}
	links := regexp.MustCompile(`href="(/(?:conversation|person)\?[^"]+)"`)
	for _, list := range []string{"/conversations", "/people"} {
		for _, m := range links.FindAllStringSubmatch(v.get(list).body, -1) {
			pages = append(pages, html.UnescapeString(m[1]))
		}
	}
	start := time.Now()
	for _, p := range pages {
		a := v.get(p)
		if a.status >= 500 {
			t.Errorf("%.80s: status %d", p, a.status)
		}
		inert(t, p, a)
	}
	t.Logf("%d pages in %v", len(pages), time.Since(start))
	for _, text := range hostileTexts() {
		for path, field := range map[string]string{"/signin": "name", "/policy": "text", "/settings/password": "password", "/purpose": "note", "/holds/preview": "name", "/holds/release": "reason"} {
			inert(t, path, v.post(path, field, cutBytes(text, 20_000), "back", text, "from", text, "to", text, "purpose", text, "again", "x", "kind", "person", "matter", cutBytes(text, 1000), "reason", cutBytes(text, 1000)))
		}
		adam := r.as("adam")
		inert(t, "/accounts", adam.post("/accounts", "name", cutBytes(text, 60), "role", "reviewer"))
		inert(t, "/accounts", adam.get("/accounts"))
	}
}

// inert reports what a browser would run, load or follow outside, and what would change how the page reads.
func inert(t *testing.T, page string, a answer) {
	t.Helper()
	if a.status == http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		return
	}
	complain := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%.100s: %s", page, fmt.Sprintf(format, args...))
	}
	if strings.ContainsFunc(a.body, func(c rune) bool {
		return c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c < 0x20 && c != '\n' && c != '\t' && c != '\r' || c >= 0x7f && c < 0xa0
	}) {
		complain("a character changes how the page reads")
	}
	if a.body != strings.ToValidUTF8(a.body, "") {
		complain("not UTF-8")
	}
	if len(a.body) > 6<<20 {
		complain("%d bytes", len(a.body))
	}
	nonce, mains := nonceOf(a), 0
	if strings.Count(a.header.Get("Content-Security-Policy"), "nonce-") > 1 {
		complain("more than one nonce")
	}
	z := html.NewTokenizer(strings.NewReader(a.body))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		tok := z.Token()
		switch tok.Data {
		case "script":
			if why := ourScript(tok, nonce); why != "" {
				complain("a script: %s", why)
			}
		case "style", "iframe", "object", "embed", "base", "template", "math", "video", "audio":
			complain("an element %s", tok.Data)
		case "main":
			mains++
		}
		if why := ourHTMX(tok, nonce); why != "" {
			complain("%s: %s", tok.Data, why)
		}
		for _, attr := range tok.Attr {
			if strings.HasPrefix(attr.Key, "on") || attr.Key == "style" || attr.Key == "srcdoc" || attr.Key == "http-equiv" || attr.Key == "formaction" {
				complain("an attribute %s of %s", attr.Key, tok.Data)
			}
			if attr.Key == "href" || attr.Key == "src" || attr.Key == "action" {
				if ours := local(attr.Val) || attr.Val == "#main" || strings.HasPrefix(attr.Val, "data:image/png;base64,"); !ours {
					complain("%s of %s is %.80q", attr.Key, tok.Data, attr.Val)
				}
			}
		}
	}
	if mains != 1 {
		complain("%d main elements", mains)
	}
}

func local(address string) bool {
	return strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//")
}

// nonceOf returns the nonce that the answer's own policy lets run, "" when nothing may.
func nonceOf(a answer) string {
	_, after, _ := strings.Cut(a.header.Get("Content-Security-Policy"), "script-src 'nonce-")
	nonce, _, _ := strings.Cut(after, "'")
	return nonce
}

// ourScripts are the only scripts that a page names.
var ourScripts = []string{"/static/lib/htmx.min.js", "/static/lib/hx-csp.min.js", "/static/live.js"}

// ourScript says what is wrong with a script element: it is one of ours, in a file, and carries the nonce of its answer.
func ourScript(tok html.Token, nonce string) string {
	attrs := map[string]string{}
	for _, a := range tok.Attr {
		attrs[a.Key] = a.Val
	}
	switch {
	case nonce == "":
		return "on a page that allows none"
	case !slices.Contains(ourScripts, attrs["src"]):
		return fmt.Sprintf("%.80q is not ours", attrs["src"])
	case attrs["nonce"] != nonce:
		return "another nonce"
	}
	return ""
}

// ourHTMX says what is wrong with the attributes that htmx acts on: each is one that we use, asks only us, and its element carries the nonce.
func ourHTMX(tok html.Token, nonce string) string {
	carried, acts := "", false
	for _, a := range tok.Attr {
		switch a.Key {
		case "hx-nonce":
			carried = a.Val
		case "hx-get":
			if acts = true; !local(a.Val) {
				return fmt.Sprintf("%s asks %.80q", a.Key, a.Val)
			}
		case "hx-select":
			if acts = true; !strings.HasPrefix(a.Val, "#") || len(a.Val) > 20 {
				return fmt.Sprintf("selects %.80q", a.Val)
			}
		case "hx-swap":
			if acts = true; a.Val != "outerMorph" {
				return fmt.Sprintf("swaps by %.80q", a.Val)
			}
		case "hx-trigger":
			if acts = true; strings.ContainsAny(a.Val, "[]") || !strings.HasPrefix(a.Val, "live-") {
				return fmt.Sprintf("is triggered by %.80q", a.Val)
			}
		case "nonce":
			if tok.Data != "script" {
				return "has a nonce"
			}
		default:
			if strings.HasPrefix(a.Key, "hx-") || strings.HasPrefix(a.Key, "data-hx-") || strings.HasPrefix(a.Key, "sse-") {
				return "has an attribute " + a.Key
			}
		}
	}
	if acts && (nonce == "" || carried != nonce) {
		return "htmx acts on it, and it does not carry the nonce"
	}
	return ""
}
