package account_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/argon2"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
)

const password = "correct horse battery"

func open(t *testing.T, dir string, now *time.Time) *account.Book {
	t.Helper()
	b, err := account.Open(dir, clock.Func(func() time.Time { return *now }))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignIn(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	b := open(t, dir, &now)
	if err := b.Create("rita", []control.Role{control.Reviewer}, 4242); err != nil {
		t.Fatal(err)
	}
	if err := b.SetPassword("rita", "short"); !errors.Is(err, account.ErrWeak) {
		t.Errorf("a weak password gave %v", err)
	}
	if _, _, err := b.SignIn("rita", "", ""); !errors.Is(err, account.ErrDenied) {
		t.Errorf("no password signed in: %v", err)
	}
	if err := b.SetPassword("rita", password); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir, &now) // what is kept is on disk
	token, caller, err := b.SignIn("rita", password, "")
	if err != nil || caller.Account != "rita" || !caller.Has(control.Reviewer) {
		t.Fatalf("%v, %v", caller, err)
	}
	if _, ok := b.Session(token); !ok {
		t.Error("the session is not known")
	}
	if _, ok := b.Session("x"); ok {
		t.Error("any token is a session")
	}
	b.SignOut(token)
	if _, ok := b.Session(token); ok {
		t.Error("signed out, and still in")
	}
	raw, _ := os.ReadFile(filepath.Join(dir, "state", "accounts.json"))
	if strings.Contains(string(raw), password) || strings.Contains(string(raw), token) {
		t.Error("a secret is in the file")
	}
	if caller, ok := b.ByUser(4242); !ok || caller.Account != "rita" {
		t.Errorf("user 4242 is %v", caller)
	}
	if caller, ok := b.ByUser(0); !ok || caller.Has(control.Reviewer, control.Counsel) {
		t.Errorf("root reads: %v", caller)
	}
	if _, ok := b.ByUser(7); ok {
		t.Error("any user has an account")
	}
}

// TestWhoeverOwnsTheDataAdministers: without root there is somebody who can make links, and that is not somebody who reads.
func TestWhoeverOwnsTheDataAdministers(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	owner := os.Getuid()
	if owner == 0 {
		owner = 4711
		if err := os.Chown(dir, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, dir, &now)
	caller, ok := b.ByUser(uint32(owner))
	if want := fmt.Sprintf("uid:%d", owner); !ok || caller.Account != want || !caller.Has(control.Administrator) || caller.Has(control.Reviewer, control.Counsel) {
		t.Errorf("the owner is %+v, not %s", caller, want)
	}
	if _, ok := b.ByUser(uint32(owner + 1)); ok {
		t.Error("somebody else administers too")
	}
	if err := b.Create("rita", []control.Role{control.Reviewer}, uint32(owner)); err != nil {
		t.Fatal(err)
	}
	if caller, _ := b.ByUser(uint32(owner)); caller.Account != "rita" || caller.Has(control.Administrator) {
		t.Errorf("an owner with an account of their own is %+v", caller)
	}
}

func TestSessionsEnd(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	b.Create("a", nil)
	link, _ := b.NewLink("a")
	token, _, err := b.RedeemLink(link)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	if _, ok := b.Session(token); ok {
		t.Error("an idle session did not end")
	}
}

func TestLinkIsForOnce(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	b.Create("a", nil)
	first, _ := b.NewLink("a")
	second, _ := b.NewLink("a")
	if _, _, err := b.RedeemLink(first); err == nil {
		t.Error("a replaced link works")
	}
	if _, _, err := b.RedeemLink(second); err != nil {
		t.Error(err)
	}
	if _, _, err := b.RedeemLink(second); !errors.Is(err, account.ErrLink) {
		t.Errorf("a used link: %v", err)
	}
	late, _ := b.NewLink("a")
	now = now.Add(2 * time.Hour)
	if _, _, err := b.RedeemLink(late); err == nil {
		t.Error("an old link works")
	}
	if _, err := b.NewLink("b"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("link for nobody: %v", err)
	}
}

func TestRateLimit(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	b.Create("a", nil)
	b.SetPassword("a", password)
	for range 5 {
		if _, _, err := b.SignIn("a", "wrong", ""); !errors.Is(err, account.ErrDenied) {
			t.Fatal(err)
		}
	}
	if _, _, err := b.SignIn("a", password, ""); !errors.Is(err, account.ErrTooMany) {
		t.Errorf("the sixth try gave %v", err)
	}
	now = now.Add(time.Minute + time.Second)
	if _, _, err := b.SignIn("a", password, ""); err != nil {
		t.Errorf("after a minute: %v", err)
	}
}

func TestSessionsButOneEnd(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	var tokens []string
	for _, name := range []string{"a", "b"} {
		b.Create(name, nil)
	}
	for _, name := range []string{"a", "a", "b"} {
		link, _ := b.NewLink(name)
		token, _, err := b.RedeemLink(link)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	b.EndOthers("a", tokens[0])
	for i, want := range []bool{true, false, true} {
		if _, ok := b.Session(tokens[i]); ok != want {
			t.Errorf("session %d runs: %v", i, ok)
		}
	}
}

func TestSecondFactor(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	b.Create("a", nil)
	b.SetPassword("a", password)
	secret, address, err := b.NewTOTP("a")
	if err != nil || !strings.HasPrefix(address, "otpauth://totp/") {
		t.Fatal(address, err)
	}
	if err := b.ConfirmTOTP("a", secret, "000000"); err == nil {
		t.Error("a wrong code turned it on")
	}
	code, _ := totp.GenerateCode(secret, now.Add(-30*time.Second))
	if err := b.ConfirmTOTP("a", secret, code); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.SignIn("a", password, ""); err == nil {
		t.Error("signed in without the code")
	}
	if _, _, err := b.SignIn("a", password, code); err == nil {
		t.Error("a code worked twice")
	}
	code, _ = totp.GenerateCode(secret, now)
	if _, _, err := b.SignIn("a", password, code); err != nil {
		t.Error(err)
	}
	now = now.Add(2 * time.Minute)
	code, _ = totp.GenerateCode(secret, now.Add(-time.Minute))
	if _, _, err := b.SignIn("a", password, code); err == nil {
		t.Error("a code of a minute ago was taken")
	}
	code, _ = totp.GenerateCode(secret, now.Add(30*time.Second))
	if _, _, err := b.SignIn("a", password, code); err != nil {
		t.Errorf("a clock that is half a minute ahead: %v", err)
	}
}

func TestWhoAdministersDoesNotRead(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	if err := b.Create("both", []control.Role{control.Administrator, control.Counsel}); !errors.Is(err, account.ErrRoles) {
		t.Errorf("error is %v", err)
	}
	if err := b.Create("a", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Create("a", nil); !errors.Is(err, account.ErrExists) {
		t.Errorf("error is %v", err)
	}
	if len(b.List()) != 1 {
		t.Error("list is wrong")
	}
}

func TestRootNeverReads(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	b.Create("admin", []control.Role{control.Administrator})
	if err := b.Create("r", []control.Role{control.Reviewer}, 0); !errors.Is(err, account.ErrUser) {
		t.Errorf("root became a reviewer: %v", err)
	}
	if err := b.Create("x", []control.Role{"king"}); err == nil {
		t.Error("a role that does not exist was given")
	}
	if err := b.Create("one", []control.Role{control.Reviewer}, 1000); err != nil {
		t.Fatal(err)
	}
	if err := b.CanCreate("two", []control.Role{control.Administrator}, 1000); !errors.Is(err, account.ErrUser) {
		t.Errorf("one user is two accounts: %v", err)
	}
}

func TestBadLinksKeepNobodyOut(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	b.Create("a", nil)
	link, _ := b.NewLink("a")
	for range 50 {
		b.RedeemLink("guess")
	}
	if _, _, err := b.RedeemLink(link); err != nil {
		t.Error(err)
	}
}

// TestPeekIsNoUse: what a page does by itself does not keep a session from ending.
func TestPeekIsNoUse(t *testing.T) {
	now := time.Now()
	b := open(t, t.TempDir(), &now)
	b.Create("a", nil)
	link, _ := b.NewLink("a")
	token, _, err := b.RedeemLink(link)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		now = now.Add(25 * time.Minute)
		if who, ok := b.Peek(token); !ok || who.Account != "a" {
			t.Errorf("%v %v", who, ok)
		}
	}
	now = now.Add(25 * time.Minute)
	if _, ok := b.Peek(token); ok {
		t.Error("a session that nobody used for 75 minutes goes on")
	}
	if _, ok := b.Peek("guess"); ok {
		t.Error("a guess is a session")
	}
}

// TestPasswordsAreDigests: on disk lies an argon2id digest with a salt of its own, never the password.
func TestPasswordsAreDigests(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	b := open(t, dir, &now)
	for _, name := range []string{"a", "b"} {
		if err := errors.Join(b.Create(name, nil), b.SetPassword(name, password)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "state", "accounts.json"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte(password)) {
		t.Error("the password lies there")
	}
	digests := regexp.MustCompile(`"password": ?"([A-Za-z0-9+/=_$-]+)"`).FindAllSubmatch(raw, -1)
	if len(digests) != 2 || bytes.Equal(digests[0][1], digests[1][1]) {
		t.Fatalf("two accounts with one password have %d digests, or the same one: %s", len(digests), raw)
	}
	const salt = 16
	digest, err := base64.RawStdEncoding.DecodeString(string(digests[0][1]))
	if err != nil || len(digest) <= salt {
		t.Fatalf("%d bytes, %v", len(digest), err)
	}
	if want := argon2.IDKey([]byte(password), digest[:salt], 3, 64<<10, 2, uint32(len(digest)-salt)); !bytes.Equal(want, digest[salt:]) {
		t.Error("it is no argon2id digest with 3 passes and 64 MiB")
	}
}
