// Package console serves the pages that people work with: what happened, who uses which messenger, one time line per person, conversations
// with every revision, search, policy, health and the ledger.
//
// Every page works without JavaScript. Whatever a user wrote is hostile: it goes through html/template, under a content security policy
// without inline code and with Trusted Types. Content is opened only by a role that reads, with a purpose, and each look is an act in the
// journal.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/policy"
)

//go:embed templates static
var files embed.FS

// LedgerState is what the ledger page shows.
type LedgerState struct {
	Origin     string
	Size       uint64    // frames in the log
	Time       time.Time // of the last checkpoint
	OutsideAt  time.Time // when a recipient outside last acknowledged one
	Checkpoint string    // the signed note
}

// VerifyResult is what "verify now" answers: the words of the command line, and what was found.
type VerifyResult struct {
	Broken   bool
	Words    string
	Findings []string
	Records  int
	Took     time.Duration
}

// Deps is what the console works on.
type Deps struct {
	Archive *archive.Archive
	Search  func(ctx context.Context, v *archive.View, query string, limit int) ([]archive.Record, error)
	Policy  func() *policy.Policy
	Try     func(ctx context.Context, e *event.Event) error // inspects a text for the policy page, delivers nothing
	Ledger  func(ctx context.Context) (LedgerState, error)
	Verify  func(ctx context.Context) (VerifyResult, error)
	Board   *health.Board
	Book    *account.Book
	Acts    event.Recorder
	Apps    map[string]string // names of the messengers by catalog id
	Clock   clock.Clock
	Log     *slog.Logger
	Version string
}

// Console is the web console.
type Console struct {
	Deps
	pages map[string]*template.Template

	mu    sync.Mutex
	views map[string]*archive.View // by session token
}

// New returns a console. It fails when a template does not parse.
func New(d Deps) (*Console, error) {
	c := &Console{Deps: d, pages: map[string]*template.Template{}, views: map[string]*archive.View{}}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "layout.html") {
			continue
		}
		t, err := template.New("layout.html").Funcs(c.functions()).ParseFS(files, "templates/layout.html", name)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		c.pages[strings.TrimSuffix(strings.TrimPrefix(name, "templates/"), ".html")] = t
	}
	return c, nil
}

// Handler returns the console's pages.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is embedded under this very name
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", cached(http.FileServerFS(static))))
	mux.HandleFunc("GET /signin", c.signInPage)
	mux.HandleFunc("POST /signin", c.signIn)
	mux.HandleFunc("GET /link/{token}", c.linkPage)
	mux.HandleFunc("POST /link/{token}", c.redeemLink)
	mux.HandleFunc("POST /signout", c.signOut)
	anyone := []control.Role{control.Nobody}
	readers := []control.Role{control.Reviewer, control.Counsel}
	for _, p := range []struct {
		pattern string
		needs   []control.Role
		serve   page
	}{
		{"GET /{$}", anyone, c.overview},
		{"GET /messengers", anyone, c.messengers},
		{"GET /people", readers, c.people},
		{"GET /person", readers, c.person},
		{"GET /conversations", readers, c.conversations},
		{"GET /conversation", readers, c.conversation},
		{"GET /events", readers, c.events},
		{"GET /record", readers, c.record},
		{"GET /search", readers, c.search},
		{"GET /policy", anyone, c.policyPage},
		{"GET /health", anyone, c.healthPage},
		{"GET /ledger", anyone, c.ledgerPage},
		{"POST /ledger/verify", anyone, c.verifyNow},
		{"GET /settings", anyone, c.settings},
		{"POST /settings/password", anyone, c.setPassword},
		{"POST /settings/totp", anyone, c.setTOTP},
		{"POST /purpose", readers, c.setPurpose},
	} {
		mux.HandleFunc(p.pattern, c.signedIn(p.needs, p.serve))
	}
	return headers(http.NewCrossOriginProtection().Handler(mux))
}

// page answers one request of somebody signed in: the name of a template and its data, or a redirect already written ("").
type page func(w http.ResponseWriter, r *http.Request, s *session) (string, any, error)

// session is who is asking, and through which view.
type session struct {
	control.Caller
	token string
	view  *archive.View // nil until a purpose was given
}

const cookieName = "__Host-chaperone"

// contentPolicy lets the browser load our own style sheet and nothing else: there is no script at all, and no sink that would take one.
const contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		next.ServeHTTP(w, r)
	})
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		next.ServeHTTP(w, r)
	})
}

func (c *Console) signedIn(needs []control.Role, serve page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := c.session(r)
		if !ok {
			http.Redirect(w, r, "/signin", http.StatusSeeOther)
			return
		}
		if !s.Has(needs...) {
			c.render(w, http.StatusForbidden, "message", s, "Not for your role",
				"This page shows content. Who administers does not read: sign in with an account that has the role reviewer or counsel.")
			return
		}
		name, data, err := serve(w, r, s)
		switch {
		case errors.Is(err, errPurpose):
			c.render(w, http.StatusOK, "purpose", s, "Why do you look?", purposeData{purposes, r.URL.RequestURI()})
		case errors.Is(err, archive.ErrNotFound):
			c.render(w, http.StatusNotFound, "message", s, "Not found", err.Error())
		case err != nil:
			var usage usageError
			if errors.As(err, &usage) {
				c.render(w, http.StatusBadRequest, "message", s, "That did not work", usage.Error())
				return
			}
			c.Log.Error("page", "path", r.URL.Path, "error", err)
			c.render(w, http.StatusInternalServerError, "message", s, "Something is wrong", "The page could not be made. The log says why; the health page says what is broken.")
		case name != "":
			c.render(w, http.StatusOK, name, s, "", data)
		}
	}
}

// usageError is a mistake of the person who asked, in words for them.
type usageError struct{ error }

func (c *Console) session(r *http.Request) (*session, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return nil, false
	}
	caller, ok := c.Book.Session(cookie.Value)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &session{caller, cookie.Value, c.views[cookie.Value]}, true
}

// frame is what every page gets.
type frame struct {
	Title   string
	Path    string
	Account string
	Reads   bool
	Purpose string
	Version string
	Worst   health.State
	Query   string
	Data    any
}

func (c *Console) render(w http.ResponseWriter, status int, name string, s *session, title string, data any) {
	f := frame{Title: title, Version: c.Version, Data: data, Path: name}
	if s != nil {
		f.Account, f.Worst = s.Account, c.Board.Worst()
		f.Reads = s.Has(control.Reviewer, control.Counsel)
		if s.view != nil {
			f.Purpose = s.view.Purpose()
		}
	}
	if q, ok := data.(interface{ query() string }); ok {
		f.Query = q.query()
	}
	var b strings.Builder
	if err := c.pages[name].Execute(&b, f); err != nil {
		c.Log.Error("template", "page", name, "error", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprint(w, b.String())
}

// act records what somebody did in the console, before it is done.
func (c *Console) act(ctx context.Context, who, action, object string) error {
	now := c.Clock.Now()
	return c.Acts.Record(ctx, &event.Event{ID: event.NewID(), Kind: event.Act, Phase: action, Time: now, Received: now, Connector: "console",
		From:    event.Party{Handle: who},
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: object}}})
}
