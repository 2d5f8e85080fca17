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
	"net/url"
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
	"github.com/chaperone-im/chaperone/internal/search"
)

//go:embed templates static/*.css static/*.svg static/*.js static/lib
var files embed.FS

// LedgerState is what the ledger page shows.
type LedgerState struct {
	Origin     string
	Size       uint64    // frames in the log
	Time       time.Time // of the last checkpoint
	Outside    bool      // a recipient outside has acknowledged some checkpoint
	OutsideAt  time.Time // up to when frames are acknowledged outside
	Open       uint64    // frames that nobody outside has acknowledged
	OpenFor    int64     // seconds since the first of them
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
	Archive  *archive.Archive
	Searcher *search.Searcher
	Policy   func() *policy.Policy
	Try      func(ctx context.Context, e *event.Event) error // inspects a text for the policy page, delivers nothing
	Ledger   func(ctx context.Context) (LedgerState, error)
	Verify   func(ctx context.Context) (VerifyResult, error)
	Holds    Holds          // nil where nothing can be held
	Files    *archive.Files // nil where no files are kept
	Fleet    Fleet          // nil where no fleet is served
	Programs Programs       // nil where nothing is summed up of programs
	Board    *health.Board
	Book     *account.Book
	Acts     event.Recorder
	Purposes []string          // reasons to read content; DefaultPurposes when empty
	Apps     map[string]string // names of the messengers by catalog id
	Clock    clock.Clock
	Log      *slog.Logger
	Version  string
}

// Console is the web console.
type Console struct {
	Deps
	pages map[string]*template.Template

	pulse     *pulse        // what live pages show
	downloads chan struct{} // a place for each file that is given out at a time
	checking  sync.Mutex    // held while the ledger is verified: one check at a time

	mu    sync.Mutex
	views map[string]*archive.View // by session token
}

// New returns a console. It fails when a template does not parse.
func New(d Deps) (*Console, error) {
	c := &Console{Deps: d, pages: map[string]*template.Template{}, views: map[string]*archive.View{}}
	if len(c.Purposes) == 0 {
		c.Purposes = DefaultPurposes()
	}
	c.pulse, c.downloads = newPulse(c.moment), make(chan struct{}, downloadsAtOnce)
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
	mux.Handle("GET /static/", cached(http.FileServerFS(files)))
	mux.HandleFunc("GET /signin", c.signInPage)
	mux.HandleFunc("POST /signin", c.signIn)
	mux.HandleFunc("GET /link/{token}", c.linkPage)
	mux.HandleFunc("POST /link/{token}", c.redeemLink)
	mux.HandleFunc("POST /signout", c.signOut)
	mux.HandleFunc("GET /live", c.live)
	for _, p := range c.list() {
		mux.HandleFunc(p.pattern, c.signedIn(p.needs, p.serve))
	}
	same := http.NewCrossOriginProtection()
	same.SetDenyHandler(http.HandlerFunc(c.foreign))
	return c.guard(c.sameScheme(same.Handler(mux)))
}

// sameScheme refuses forms of a page of this name that came without TLS, which anybody on the way could have written: CrossOriginProtection
// compares the host of an Origin alone.
func (c *Console) sameScheme(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.Method != http.MethodGet && r.Method != http.MethodHead && strings.HasPrefix(strings.ToLower(r.Header.Get("Origin")), "http:") {
			c.foreign(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// listed is a page with the roles that it is for.
type listed struct {
	pattern string
	needs   []control.Role
	serve   page
}

// list is the explicit list of pages for people who are signed in.
func (c *Console) list() []listed {
	anyone := []control.Role{control.Nobody}
	readers := []control.Role{control.Reviewer, control.Counsel}
	counsel := []control.Role{control.Counsel}
	admin := []control.Role{control.Administrator}
	return []listed{
		{"GET /{$}", anyone, c.overview},
		{"GET /messengers", anyone, c.messengers},
		{"GET /suspicious", readers, c.suspicious},
		{"GET /people", readers, c.people},
		{"GET /person", readers, c.person},
		{"GET /hosts", readers, c.hosts},
		{"GET /conversations", readers, c.conversations},
		{"GET /conversation", readers, c.conversation},
		{"GET /events", readers, c.events},
		{"GET /record", readers, c.record},
		{"GET /search", readers, c.search},
		{"GET /file", readers, c.filePage},
		{"POST /file", readers, c.download},
		{"GET /holds", counsel, c.holds},
		{"GET /holds/place", counsel, c.holdPage},
		{"POST /holds/preview", counsel, c.holdPreview},
		{"POST /holds/place", counsel, c.placeHold},
		{"GET /holds/release", counsel, c.releasePage},
		{"POST /holds/release", counsel, c.releaseHold},
		{"GET /policy", anyone, c.policyPage},
		{"POST /policy", anyone, c.policyPage},
		{"GET /health", anyone, c.healthPage},
		{"GET /ledger", anyone, c.ledgerPage},
		{"POST /ledger/verify", anyone, c.verifyNow},
		{"GET /accounts", admin, c.accounts},
		{"POST /accounts", admin, c.createAccount},
		{"POST /accounts/link", admin, c.newLink},
		{"GET /fleet", admin, c.fleet},
		{"POST /fleet", admin, c.doFleet},
		{"GET /fleet/host", admin, c.fleetHost},
		{"GET /approvals", admin, c.approvals},
		{"POST /approvals", admin, c.doFleet},
		{"GET /campaigns", admin, c.campaigns},
		{"POST /campaigns", admin, c.doFleet},
		{"GET /learned", admin, c.learned},
		{"POST /learned", admin, c.decideLearned},
		{"GET /fired", admin, c.fired},
		{"GET /settings", anyone, c.settings},
		{"POST /settings/password", anyone, c.setPassword},
		{"POST /settings/totp", anyone, c.setTOTP},
		{"POST /purpose", readers, c.setPurpose},
		{"POST /disclose", readers, c.disclose},
		{"GET /", anyone, c.nowhere},
	}
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
const contentPolicy = commonPolicy + "trusted-types 'none'"

const commonPolicy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; "

// livePolicy is that of pages for people who are signed in: the scripts that carry the nonce of this answer run and no others, they talk to
// nobody but us, and only htmx puts markup into the page, through the one policy that it makes for itself before anything else runs.
func livePolicy(nonce string) string {
	return commonPolicy + "script-src 'nonce-" + nonce + "'; connect-src 'self'; trusted-types htmx"
}

// maxBody bounds what a browser may send: forms only.
const maxBody = 64 << 10

func (c *Console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := clean(r); err != nil {
			c.say(w, r, http.StatusBadRequest, "That did not work", "What your browser sent is too large or is no form.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// clean parses the form and makes every value valid UTF-8, so that nothing else comes into records and pages.
func clean(r *http.Request) error {
	err := r.ParseForm()
	for _, form := range []url.Values{r.Form, r.PostForm} {
		for _, values := range form {
			for i, v := range values {
				values[i] = strings.ToValidUTF8(v, "\uFFFD")
			}
		}
	}
	return err
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no list of files
			return
		}
		w.Header().Set("Cache-Control", "max-age=300")
		next.ServeHTTP(w, r)
	})
}

func (c *Console) signedIn(needs []control.Role, serve page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := c.session(r)
		if !ok && byItself(r) {
			http.Error(w, "The session is over.", http.StatusUnauthorized)
			return
		}
		if !ok {
			back := ""
			if r.Method == http.MethodGet && r.URL.Path != "/" {
				back = r.URL.RequestURI()
			}
			http.Redirect(w, r, link("/signin", "back", back), http.StatusSeeOther)
			return
		}
		if !s.Has(needs...) {
			c.render(w, http.StatusForbidden, "message", s, "Not for your role", wordsFor(needs))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience(r))
		defer cancel()
		name, data, err := serve(w, r.WithContext(ctx), s)
		if err != nil {
			c.sayError(w, r, s, err)
			return
		}
		if name != "" {
			c.render(w, http.StatusOK, name, s, "", data)
		}
	}
}

// patience is how long a page may take: nobody waits longer, and what is asked of the disk ends with it.
func patience(r *http.Request) time.Duration {
	switch {
	case r.URL.Path == "/ledger/verify":
		return 5 * time.Minute
	case r.URL.Path == "/file" && r.Method == http.MethodPost:
		return 30 * time.Minute // each part has a time of its own
	}
	return 30 * time.Second
}

// wordsFor says why a page is not for somebody.
func wordsFor(needs []control.Role) string {
	switch needs[0] {
	case control.Administrator:
		return "Accounts and machines are kept by those who administer. Who reads does not administer: ask an administrator."
	case control.Counsel:
		return "Holds belong to counsel. Sign in with an account that has the role counsel."
	}
	return "This page shows content. Who administers does not read: sign in with an account that has the role reviewer or counsel."
}

// sayError answers with what went wrong, in words for the person who asked; what is inside goes to the log.
func (c *Console) sayError(w http.ResponseWriter, r *http.Request, s *session, err error) {
	var usage usageError
	switch {
	case errors.Is(err, errPurpose):
		c.render(w, http.StatusOK, "purpose", s, "", purposeData{c.Purposes, r.URL.RequestURI()})
	case errors.Is(err, archive.ErrGone):
		c.render(w, http.StatusGone, "message", s, "Not kept any more", "The content was destroyed, by erasure or because its time was over, or the file never was kept here. The record of it and the certificate stand: search for it under Events, kind act.")
	case errors.Is(err, archive.ErrAltered):
		c.Log.Error("a recorded file was altered", "path", r.URL.Path, "error", err)
		c.render(w, http.StatusInternalServerError, "message", s, "Not given out", "The file in the store is not what its record says: it was damaged or changed. Nothing of it was given out. Run chaperone verify.")
	case errors.Is(err, archive.ErrNotFound):
		c.render(w, http.StatusNotFound, "message", s, "Not found", "Nothing on record has that name or id. It may have been typed wrongly, or it never was recorded here.")
	case errors.Is(err, archive.ErrCursor):
		c.render(w, http.StatusBadRequest, "message", s, "That did not work", "The address names a place in a list that there is not. Open the list again, and go on from there.")
	case errors.As(err, &usage):
		c.render(w, http.StatusBadRequest, "message", s, "That did not work", usage.Error())
	case errors.Is(err, errUnrecorded), errors.Is(err, archive.ErrUnrecorded):
		c.Log.Error("record an act of the console", "path", r.URL.Path, "error", err)
		c.render(w, http.StatusServiceUnavailable, "message", s, "Not done", "This could not be recorded, and nobody works here unrecorded. The health page says what is broken.")
	case errors.Is(err, context.DeadlineExceeded):
		c.Log.Warn("page took too long", "path", r.URL.Path)
		c.render(w, http.StatusServiceUnavailable, "message", s, "That takes too long", "The page was given up after half a minute. Ask for less: a person, a day, or a narrower search.")
	default:
		c.Log.Error("page", "path", r.URL.Path, "error", err)
		c.render(w, http.StatusInternalServerError, "message", s, "Something is wrong", "The page could not be made. The log says why; the health page says what is broken.")
	}
}

func (c *Console) nowhere(http.ResponseWriter, *http.Request, *session) (string, any, error) {
	return "", nil, archive.ErrNotFound
}

// foreign answers a form that another site sent.
func (c *Console) foreign(w http.ResponseWriter, r *http.Request) {
	c.say(w, r, http.StatusForbidden, "Not done", "Another site sent this form. Nothing was done; open the page here and try again.")
}

// say renders a page of words for somebody who may be signed in or not.
func (c *Console) say(w http.ResponseWriter, r *http.Request, status int, title, words string) {
	s, ok := c.session(r)
	if !ok {
		s = nil
	}
	c.render(w, status, "message", s, title, words)
}

// usageError is a mistake of the person who asked, in words for them.
type usageError string

func (u usageError) Error() string { return string(u) }

func (c *Console) session(r *http.Request) (*session, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return nil, false
	}
	known := c.Book.Session
	if byItself(r) {
		known = c.Book.Peek
	}
	caller, ok := known(cookie.Value)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &session{caller, cookie.Value, c.views[cookie.Value]}, true
}

// byItself reports whether a page asks, and no person: it moves by itself.
func byItself(r *http.Request) bool {
	return r.Header.Get("HX-Request") != "" || r.URL.Path == "/live"
}

// act records what somebody did in the console, before it is done.
func (c *Console) act(ctx context.Context, who, action, object string) error {
	now := c.Clock.Now()
	err := c.Acts.Record(ctx, &event.Event{ID: event.NewID(), Kind: event.Act, Phase: action, Time: now, Received: now, Connector: "console",
		From:    event.Party{Handle: who},
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: object}}})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUnrecorded, action, err)
	}
	return nil
}

// errUnrecorded says that an act could not be recorded, and was not done.
var errUnrecorded = errors.New("could not be recorded")
