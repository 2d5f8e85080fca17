package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/pquerna/otp/totp"
)

func want(t *testing.T, a answer, status int, words ...string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.text())
	}
	for _, w := range words {
		if !strings.Contains(a.body, w) {
			t.Errorf("the page does not say %q: %s", w, a.text())
		}
	}
}

func lacks(t *testing.T, a answer, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(a.body, w) {
			t.Errorf("the page says %q: %s", w, a.text())
		}
	}
}

func actions(acts []*event.Event) []string {
	var out []string
	for _, a := range acts {
		out = append(out, a.Act.Action)
	}
	return out
}

func TestSignInByLinkIsForOnceAndNeedsAClick(t *testing.T) {
	r := newRig(t, noon)
	token := must[string](t)(r.book.NewLink("rita"))
	v := r.visitor()
	want(t, v.get("/link/"+token), http.StatusOK, "signs you in once")
	want(t, v.get("/link/"+token), http.StatusOK, "signs you in once")
	before := r.frames()
	in := v.post("/link/" + token)
	want(t, in, http.StatusSeeOther)
	if to := in.header.Get("Location"); to != "/" {
		t.Errorf("went to %q", to)
	}
	cookie := in.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-chaperone=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie lacks %s: %s", part, cookie)
		}
	}
	if strings.Contains(cookie, "Domain") {
		t.Errorf("the cookie has a domain: %s", cookie)
	}
	acts := r.actsSince(before)
	if len(acts) != 1 || acts[0].Act.Action != "signin" || acts[0].From.Handle != "rita" || acts[0].Act.Object != "one-time link" {
		t.Errorf("the record of signing in is %+v", acts)
	}
	want(t, v.get("/"), http.StatusOK, "Today", "rita")
	want(t, r.visitor().post("/link/"+token), http.StatusUnauthorized, "Not signed in: this link was used", "each works once, within an hour", "An administrator makes a new one")
}

func TestSignInByPassword(t *testing.T) {
	r := newRig(t, noon)
	if err := r.book.SetPassword("rita", password); err != nil {
		t.Fatal(err)
	}
	v := r.visitor()
	to := v.get("/person?who=alice")
	want(t, to, http.StatusSeeOther)
	if l := to.header.Get("Location"); l != "/signin?back=%2Fperson%3Fwho%3Dalice" {
		t.Errorf("went to %q", l)
	}
	page := v.get(to.header.Get("Location"))
	want(t, page, http.StatusOK, `name="back" value="/person?who=alice"`, "<title>Sign in · Chaperone</title>")
	before := r.frames()
	for _, wrong := range [][]string{{"rita", "wrong"}, {"nobody", password}, {"", ""}} {
		want(t, v.post("/signin", "name", wrong[0], "password", wrong[1]), http.StatusUnauthorized, "Not signed in: name, password or code is wrong.")
	}
	if got := actions(r.actsSince(before)); len(got) != 3 || got[0] != "signin.refused" {
		t.Errorf("refusals on record: %v", got)
	}
	in := v.post("/signin", "name", " rita ", "password", password, "back", "/person?who=alice")
	want(t, in, http.StatusSeeOther)
	if l := in.header.Get("Location"); l != "/person?who=alice" {
		t.Errorf("went to %q", l)
	}
	out := v.post("/signout")
	want(t, out, http.StatusSeeOther)
	want(t, v.get("/"), http.StatusSeeOther)
}

func TestGuessingIsLimited(t *testing.T) {
	r := newRig(t, noon)
	if err := r.book.SetPassword("rita", password); err != nil {
		t.Fatal(err)
	}
	v := r.visitor()
	for range 5 {
		want(t, v.post("/signin", "name", "rita", "password", "guess"), http.StatusUnauthorized)
	}
	want(t, v.post("/signin", "name", "rita", "password", password), http.StatusTooManyRequests, "too many tries; wait a minute")
	for range 5 {
		want(t, v.post("/link/guess"), http.StatusUnauthorized)
	}
	want(t, v.post("/link/guess"), http.StatusTooManyRequests)
	want(t, v.post("/link/"+must[string](t)(r.book.NewLink("cora"))), http.StatusSeeOther) // guesses keep nobody out
}

func TestNobodyWorksUnrecorded(t *testing.T) {
	r := newRig(t, noon)
	admin, rita := r.as("adam"), r.reading("rita")
	token := must[string](t)(r.book.NewLink("cora"))
	r.record(message(at(9, 0, 0), "alice", "the secret plan", person("bob")))
	r.acts.set(errors.New("disk full: /var/lib/chaperone"))
	v := r.visitor()
	want(t, v.post("/link/"+token), http.StatusServiceUnavailable, "nobody works here unrecorded")
	want(t, v.get("/"), http.StatusSeeOther)
	for _, a := range []answer{admin.post("/accounts", "name", "eve", "role", "reviewer"), admin.post("/accounts/link", "name", "rita"), admin.post("/ledger/verify"),
		rita.post("/settings/password", "password", password, "again", password)} {
		want(t, a, http.StatusServiceUnavailable, "This could not be recorded")
		lacks(t, a, "disk full")
	}
	if n := len(r.book.List()); n != 3 {
		t.Errorf("%d accounts", n)
	}
	for _, page := range []string{"/events", "/person?who=alice", "/search?q=secret", "/people", "/conversations"} {
		a := rita.get(page)
		want(t, a, http.StatusInternalServerError, "The page could not be made")
		lacks(t, a, "disk full", "the secret plan", "bob@")
	}
}

func TestWhatTakesTooLongIsSaid(t *testing.T) {
	r := newRig(t, noon)
	v := r.reading("rita")
	r.acts.set(fmt.Errorf("journal: %w", context.DeadlineExceeded))
	want(t, v.get("/events"), http.StatusServiceUnavailable, "That takes too long", "Ask for less")
}

func TestPasswordAndSecondFactor(t *testing.T) {
	now := time.Now()
	r := newRig(t, now)
	v, other := r.as("rita"), r.as("rita")
	want(t, v.post("/settings/password", "password", password, "again", "something else"), http.StatusOK, "The two passwords differ. Nothing was changed.")
	want(t, v.post("/settings/password", "password", "short", "again", "short"), http.StatusOK, "at least 12 characters")
	before := r.frames()
	want(t, v.post("/settings/password", "password", password, "again", password), http.StatusOK, "The new password holds")
	if got := actions(r.actsSince(before)); len(got) != 1 || got[0] != "account.password" {
		t.Errorf("on record: %v", got)
	}
	want(t, v.get("/"), http.StatusOK)
	want(t, other.get("/"), http.StatusSeeOther)

	page := v.get("/settings")
	want(t, page, http.StatusOK, `src="data:image/png;base64,`, "<title>Settings · Chaperone</title>")
	_, rest, _ := strings.Cut(page.body, `name="secret" value="`)
	secret, _, _ := strings.Cut(rest, `"`)
	want(t, v.post("/settings/totp", "secret", secret, "code", "000000"), http.StatusOK, "the code was wrong")
	want(t, v.post("/settings/totp", "secret", "not base32!", "code", "123456"), http.StatusOK, "the code was wrong")
	code := must[string](t)(totp.GenerateCode(secret, now.Add(-30*time.Second)))
	want(t, v.post("/settings/totp", "secret", secret, "code", code), http.StatusOK, "asks for a code")
	again := r.visitor()
	want(t, again.post("/signin", "name", "rita", "password", password), http.StatusUnauthorized)
	code = must[string](t)(totp.GenerateCode(secret, now))
	want(t, again.post("/signin", "name", "rita", "password", password, "code", " "+code+" "), http.StatusSeeOther)
}

func TestGoingBackStaysHere(t *testing.T) {
	r := newRig(t, noon)
	v := r.as("rita")
	for back, to := range map[string]string{
		"/events?kind=message":     "/events?kind=message",
		"https://evil.example":     "/",
		"//evil.example":           "/",
		"/\\evil.example":          "/",
		"\\/evil.example":          "/",
		"/\t/evil.example":         "/",
		"/\r\nSet-Cookie: a=b":     "/",
		"javascript:alert(1)":      "/",
		"":                         "/",
		"events":                   "/",
		"/%zz":                     "/",
		"/../..//evil.example/%2f": "/../..//evil.example/%2f",
	} {
		a := v.post("/purpose", "purpose", "Supervision review", "back", back)
		want(t, a, http.StatusSeeOther)
		got := a.header.Get("Location")
		if got != to && !(to != "/" && strings.HasPrefix(got, "/") && !strings.HasPrefix(got, "//")) {
			t.Errorf("back %q went to %q, want %q", back, got, to)
		}
	}
}
