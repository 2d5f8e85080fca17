package console

import (
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"rsc.io/qr"
)

// errPurpose says that a page shows content and that no purpose was given yet.
var errPurpose = errors.New("a purpose is needed")

// DefaultPurposes is the list of reasons to read content where the configuration has none.
func DefaultPurposes() []string {
	return []string{"Supervision review", "Complaint or incident", "Litigation or legal hold", "Request of a regulator", "Request of the person concerned", "Test of the system"}
}

type purposeData struct {
	Purposes []string
	Back     string
}

// signInData is what the sign-in page shows: why signing in did not work, and where to go on.
type signInData struct {
	Said string
	Back string
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	c.render(w, http.StatusOK, "signin", nil, "", signInData{Back: r.FormValue("back")})
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSpace(r.PostFormValue("name"))
	token, caller, err := c.Book.SignIn(name, r.PostFormValue("password"), strings.TrimSpace(r.PostFormValue("code")))
	if err != nil {
		c.refuseSignIn(w, r, name, err)
		return
	}
	c.begin(w, r, token, caller, "password")
}

func (c *Console) refuseSignIn(w http.ResponseWriter, r *http.Request, name string, err error) {
	if e := c.act(r.Context(), "", "signin.refused", cut(name, 64)); e != nil {
		c.Log.Error("record a refused sign-in", "error", e)
	}
	status := http.StatusUnauthorized
	if errors.Is(err, account.ErrTooMany) {
		status = http.StatusTooManyRequests
	}
	said := "Not signed in: " + err.Error() + "."
	if errors.Is(err, account.ErrLink) {
		said += " An administrator makes a new one."
	}
	c.render(w, status, "signin", nil, "", signInData{said, r.PostFormValue("back")})
}

// linkPage asks for a click: programs that look at links before people do must not use the link up.
func (c *Console) linkPage(w http.ResponseWriter, r *http.Request) {
	c.render(w, http.StatusOK, "link", nil, "", nil)
}

func (c *Console) redeemLink(w http.ResponseWriter, r *http.Request) {
	token, caller, err := c.Book.RedeemLink(r.PathValue("token"))
	if err != nil {
		c.refuseSignIn(w, r, "one-time link", err)
		return
	}
	c.begin(w, r, token, caller, "one-time link")
}

func (c *Console) begin(w http.ResponseWriter, r *http.Request, token string, caller control.Caller, how string) {
	if err := c.act(r.Context(), caller.Account, "signin", how); err != nil {
		c.Book.SignOut(token)
		c.Log.Error("record a sign-in", "error", err)
		c.render(w, http.StatusServiceUnavailable, "signin", nil, "", signInData{"Not signed in: it could not be recorded, and nobody works here unrecorded. chaperone doctor says what is broken.", r.PostFormValue("back")})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, home(r.PostFormValue("back")), http.StatusSeeOther)
}

// home returns the address to go on to after a form, "/" unless it is one of our own pages.
func home(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n\t") {
		return "/"
	}
	return back
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		c.Book.SignOut(cookie.Value)
		c.mu.Lock()
		delete(c.views, cookie.Value)
		c.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
}

// maxViews bounds the views kept; sessions end by themselves, their views with the next purpose that is given.
const maxViews = 1000

func (c *Console) setPurpose(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	purpose := r.PostFormValue("purpose")
	if !slices.Contains(c.Purposes, purpose) {
		return "", nil, usageError("Choose one of the purposes. Your case number or note goes beside it.")
	}
	if note := strings.TrimSpace(r.PostFormValue("note")); note != "" {
		purpose += ": " + note
	}
	v, err := c.Archive.Open(r.Context(), archive.Account{Name: s.Account, Reads: true}, purpose)
	if err != nil {
		return "", nil, usageError("The note is too long: 900 characters are enough.")
	}
	c.mu.Lock()
	for token := range c.views {
		if _, ok := c.Book.Session(token); !ok || len(c.views) >= maxViews {
			delete(c.views, token)
		}
	}
	c.views[s.token] = v
	c.mu.Unlock()
	http.Redirect(w, r, home(r.PostFormValue("back")), http.StatusSeeOther)
	return "", nil, nil
}

type settingsData struct {
	Said    string
	Secret  string
	QR      template.URL // made here, of our own bytes
	Address string
	Reads   bool
	Back    string
	List    []string
}

func (c *Console) settings(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	return c.settingsWith(s, "")
}

func (c *Console) settingsWith(s *session, said string) (string, any, error) {
	secret, address, err := c.Book.NewTOTP(s.Account)
	if err != nil {
		return "", nil, err
	}
	d := settingsData{Said: said, Secret: secret, Address: address, Reads: s.Has(control.Reviewer, control.Counsel), Back: "/settings", List: c.Purposes}
	if code, err := qr.Encode(address, qr.M); err == nil {
		d.QR = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(code.PNG()))
	}
	return "settings", d, nil
}

func (c *Console) setPassword(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	if r.PostFormValue("password") != r.PostFormValue("again") {
		return c.settingsWith(s, "The two passwords differ. Nothing was changed.")
	}
	if err := c.act(r.Context(), s.Account, "account.password", s.Account); err != nil {
		return "", nil, err
	}
	if err := c.Book.SetPassword(s.Account, r.PostFormValue("password")); err != nil {
		return c.settingsWith(s, "Nothing was changed: "+err.Error()+".")
	}
	c.Book.EndOthers(s.Account, s.token)
	return c.settingsWith(s, "The new password holds from now on. Whoever else was signed in as you is not any more.")
}

func (c *Console) setTOTP(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	if err := c.act(r.Context(), s.Account, "account.totp", s.Account); err != nil {
		return "", nil, err
	}
	if err := c.Book.ConfirmTOTP(s.Account, r.PostFormValue("secret"), strings.TrimSpace(r.PostFormValue("code"))); err != nil {
		return c.settingsWith(s, "Nothing was changed: the code was wrong. Scan the new picture and try again.")
	}
	return c.settingsWith(s, "From now on signing in asks for a code.")
}
