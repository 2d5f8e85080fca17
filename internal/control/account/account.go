// Package account keeps who may sign in and what they may do: a small file in the data directory's state folder, written whole and durably
// at each change. Passwords are kept as argon2id digests (RFC 9106); sessions and one-time links as digests of random tokens.
package account

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/argon2"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Errors of signing in. They do not say which part was wrong.
var (
	ErrDenied  = errors.New("name, password or code is wrong")
	ErrLink    = errors.New("this link was used, has run out, or never was one; each works once, within an hour")
	ErrTooMany = errors.New("too many tries; wait a minute")
	ErrExists  = errors.New("an account of that name exists")
	ErrRoles   = errors.New("one account cannot both administer and read")
	ErrWeak    = errors.New("a password needs at least 12 characters")
	ErrUnknown = errors.New("no account of that name")
	ErrUser    = errors.New("this user of the machine is an account already; root is an administrator and does not read")
)

const (
	linkLife    = time.Hour
	sessionLife = 12 * time.Hour
	sessionIdle = time.Hour
	triesPer    = 5 // failed sign-ins per account and minute
)

// Account is one person who signs in.
type Account struct {
	Name     string         `json:"name"`
	Roles    []control.Role `json:"roles"`
	Password string         `json:"password,omitempty"` // argon2id digest, "" until set
	TOTP     string         `json:"totp,omitempty"`     // base32 secret, "" when off
	UIDs     []uint32       `json:"uids,omitempty"`     // users of this machine that are this account
	Link     string         `json:"link,omitempty"`     // digest of the pending one-time link
	LinkEnds time.Time      `json:"link_ends,omitzero"`
	LastCode string         `json:"last_code,omitempty"` // a code is taken once
	Created  time.Time      `json:"created"`
}

type session struct {
	account string
	started time.Time
	seen    time.Time
}

// Book holds the accounts of one data directory, and the sessions of this process.
type Book struct {
	path  string
	clock clock.Clock
	owner uint32 // whose the data is

	mu       sync.Mutex
	accounts map[string]*Account
	sessions map[[32]byte]*session
	failed   map[string][]time.Time

	checking chan struct{} // a place for each password that is checked at a time
}

// checksAtOnce bounds the memory that strangers can make us use: each check takes argonMemory.
const checksAtOnce = 2

// Open reads the accounts in dir/state, or starts with none.
func Open(dir string, c clock.Clock) (*Book, error) {
	b := &Book{path: filepath.Join(dir, "state", "accounts.json"), clock: c,
		accounts: map[string]*Account{}, sessions: map[[32]byte]*session{}, failed: map[string][]time.Time{},
		checking: make(chan struct{}, checksAtOnce)}
	if at, err := os.Stat(dir); err == nil {
		if s, ok := at.Sys().(*syscall.Stat_t); ok {
			b.owner = s.Uid
		}
	}
	raw, err := outside.ReadFile(b.path, maxBook)
	if errors.Is(err, os.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	var list []*Account
	if err = json.Unmarshal(raw, &list); err == nil && (list == nil || slices.ContainsFunc(list, func(a *Account) bool { return a == nil || a.Name == "" })) {
		err = errors.New("it is no list of accounts")
	}
	if err != nil {
		return nil, fmt.Errorf("accounts: %s is damaged: %w; restore it from the backup of the data directory, or move it away and make new ones: chaperone account create", b.path, err)
	}
	for _, a := range list {
		b.accounts[a.Name] = a
	}
	return b, nil
}

// maxBook bounds the file of accounts, in bytes.
const maxBook = 64 << 20

// Missing reports that there is no file of accounts yet.
func (b *Book) Missing() bool {
	_, err := os.Stat(b.path)
	return errors.Is(err, os.ErrNotExist)
}

// CanCreate says why Create would refuse, or nil.
func (b *Book) CanCreate(name string, roles []control.Role, uids ...uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.canCreate(name, roles, uids)
}

func (b *Book) canCreate(name string, roles []control.Role, uids []uint32) error {
	if err := checkName(name); err != nil {
		return err
	}
	for _, a := range b.accounts {
		if strings.EqualFold(a.Name, name) {
			return ErrExists
		}
	}
	for _, r := range roles {
		if r != control.Administrator && !r.Reads() {
			return fmt.Errorf("there is no role %q", r)
		}
	}
	if slices.Contains(roles, control.Administrator) && slices.ContainsFunc(roles, control.Role.Reads) {
		return ErrRoles
	}
	for _, uid := range uids {
		taken := uid == 0
		for _, a := range b.accounts {
			taken = taken || slices.Contains(a.UIDs, uid)
		}
		if taken {
			return fmt.Errorf("user id %d: %w", uid, ErrUser)
		}
	}
	return nil
}

// Create makes an account. Who administers does not read, and a user of the machine is one account at most.
func (b *Book) Create(name string, roles []control.Role, uids ...uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.canCreate(name, roles, uids); err != nil {
		return err
	}
	b.accounts[name] = &Account{Name: name, Roles: roles, UIDs: uids, Created: b.clock.Now()}
	if err := b.save(); err != nil {
		delete(b.accounts, name)
		return err
	}
	return nil
}

// List returns all accounts by name, without their secrets.
func (b *Book) List() []Account {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Account, 0, len(b.accounts))
	for _, a := range b.accounts {
		out = append(out, Account{Name: a.Name, Roles: a.Roles, UIDs: a.UIDs, Created: a.Created, TOTP: mark(a.TOTP), Password: mark(a.Password)})
	}
	slices.SortFunc(out, func(x, y Account) int { return strings.Compare(x.Name, y.Name) })
	return out
}

func mark(secret string) string {
	if secret == "" {
		return ""
	}
	return "set"
}

// ByUser returns the account of a user of this machine. Root is an administrator, and does not read. So is whoever the data belongs to, unless an
// account says otherwise: who runs a trial as nobody special has the keys in hand as root has.
func (b *Book) ByUser(uid uint32) (control.Caller, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if uid == 0 {
		return control.Caller{Account: System, Roles: []control.Role{control.Administrator}}, true
	}
	for _, a := range b.accounts {
		if slices.Contains(a.UIDs, uid) {
			return control.Caller{Account: a.Name, Roles: a.Roles}, true
		}
	}
	if uid == b.owner {
		return control.Caller{Account: users + strconv.FormatUint(uint64(uid), 10), Roles: []control.Role{control.Administrator}}, true
	}
	return control.Caller{}, false
}

// NewLink returns a one-time sign-in token for an account, good for an hour; it ends the one before.
func (b *Book) NewLink(name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	if a == nil {
		return "", ErrUnknown
	}
	token := newToken()
	a.Link, a.LinkEnds = digest(token), b.clock.Now().Add(linkLife)
	return token, b.save()
}

// RedeemLink signs in with a one-time link and returns a session token. However many guesses came before, the right one is taken:
// nobody guesses 256 random bits, and a limit would let anybody keep everybody out.
func (b *Book) RedeemLink(token string) (string, control.Caller, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	want := digest(token)
	for _, a := range b.accounts {
		if a.Link == "" || subtle.ConstantTimeCompare([]byte(a.Link), []byte(want)) != 1 {
			continue
		}
		good := b.clock.Now().Before(a.LinkEnds)
		a.Link, a.LinkEnds = "", time.Time{}
		if err := b.save(); err != nil {
			return "", control.Caller{}, err
		}
		if good {
			return b.start(a)
		}
	}
	if b.limited("link") {
		return "", control.Caller{}, ErrTooMany
	}
	b.fail("link")
	return "", control.Caller{}, ErrLink
}

// SignIn checks name, password and, when the account has one, the code, and returns a session token.
func (b *Book) SignIn(name, password, code string) (string, control.Caller, error) {
	b.mu.Lock()
	if b.limited(name) {
		b.mu.Unlock()
		return "", control.Caller{}, ErrTooMany
	}
	b.fail(name) // counted before the slow check, so that tries side by side count too
	var stored string
	if a := b.accounts[name]; a != nil {
		stored = a.Password
	}
	b.mu.Unlock()
	b.checking <- struct{}{}
	good := checkPassword(stored, password)
	<-b.checking
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	if !good || a == nil || a.Password != stored {
		return "", control.Caller{}, ErrDenied
	}
	if a.TOTP != "" {
		if code == a.LastCode || !b.rightCode(code, a.TOTP) {
			return "", control.Caller{}, ErrDenied
		}
		a.LastCode = code
		if err := b.save(); err != nil {
			return "", control.Caller{}, err
		}
	}
	delete(b.failed, name)
	return b.start(a)
}

func (b *Book) limited(name string) bool {
	since := b.clock.Now().Add(-time.Minute)
	recent := slices.DeleteFunc(b.failed[name], func(t time.Time) bool { return t.Before(since) })
	b.failed[name] = recent
	if len(recent) == 0 {
		delete(b.failed, name)
	}
	return len(recent) >= triesPer
}

// maxNames bounds how many names failed tries are counted for: an attacker may make names up.
const maxNames = 10_000

func (b *Book) fail(name string) {
	if len(b.failed) >= maxNames {
		clear(b.failed)
	}
	b.failed[name] = append(b.failed[name], b.clock.Now())
}

func (b *Book) start(a *Account) (string, control.Caller, error) {
	token := newToken()
	now := b.clock.Now()
	for key, s := range b.sessions {
		if now.Sub(s.started) > sessionLife || now.Sub(s.seen) > sessionIdle {
			delete(b.sessions, key)
		}
	}
	b.sessions[sha256.Sum256([]byte(token))] = &session{a.Name, now, now}
	return token, control.Caller{Account: a.Name, Roles: a.Roles}, nil
}

// Session returns who holds a session token, and counts as a use of the session.
func (b *Book) Session(token string) (control.Caller, bool) { return b.look(token, true) }

// Peek returns who holds a session token, for what a page does by itself: a page that is left open does not keep a session from ending.
func (b *Book) Peek(token string) (control.Caller, bool) { return b.look(token, false) }

func (b *Book) look(token string, use bool) (control.Caller, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := sha256.Sum256([]byte(token))
	s := b.sessions[key]
	if s == nil {
		return control.Caller{}, false
	}
	now := b.clock.Now()
	a := b.accounts[s.account]
	if a == nil || now.Sub(s.started) > sessionLife || now.Sub(s.seen) > sessionIdle {
		delete(b.sessions, key)
		return control.Caller{}, false
	}
	if use {
		s.seen = now
	}
	return control.Caller{Account: a.Name, Roles: a.Roles}, true
}

// SignOut ends a session.
func (b *Book) SignOut(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, sha256.Sum256([]byte(token)))
}

// EndOthers ends all sessions of an account but the one with that token.
func (b *Book) EndOthers(name, token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keep := sha256.Sum256([]byte(token))
	maps.DeleteFunc(b.sessions, func(key [32]byte, s *session) bool { return s.account == name && key != keep })
}

// SetPassword sets an account's password. Sessions that run stay: EndOthers ends them.
func (b *Book) SetPassword(name, password string) error {
	if len([]rune(password)) < 12 {
		return ErrWeak
	}
	if len(password) > 1024 {
		return errors.New("a password has at most 1024 bytes")
	}
	stored := hashPassword(password)
	return b.change(name, func(a *Account) { a.Password = stored })
}

// NewTOTP returns a fresh secret for an account and the address that authenticator programs read; it holds only after ConfirmTOTP.
func (b *Book) NewTOTP(name string) (secret, address string, err error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Chaperone", AccountName: name})
	if err != nil {
		return "", "", err
	}
	return key.Secret(), key.URL(), nil
}

// ConfirmTOTP turns the second factor on once a code of it was right.
func (b *Book) ConfirmTOTP(name, secret, code string) error {
	if !b.rightCode(code, secret) {
		return ErrDenied
	}
	return b.change(name, func(a *Account) { a.TOTP, a.LastCode = secret, code })
}

// rightCode reports whether a code is that of this half minute, of the one before or of the next.
func (b *Book) rightCode(code, secret string) bool {
	right, err := totp.ValidateCustom(code, secret, b.clock.Now().UTC(), totp.ValidateOpts{Period: 30, Skew: 1, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	return right && err == nil
}

func (b *Book) change(name string, f func(*Account)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	if a == nil {
		return ErrUnknown
	}
	before := *a
	f(a)
	if err := b.save(); err != nil {
		*a = before
		return err
	}
	return nil
}

func (b *Book) save() error {
	list := make([]*Account, 0, len(b.accounts))
	for _, a := range b.accounts {
		list = append(list, a)
	}
	slices.SortFunc(list, func(x, y *Account) int { return strings.Compare(x.Name, y.Name) })
	raw, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.path), 0o700); err != nil {
		return err
	}
	if err := durable.Replace(b.path, raw, 0o600); err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	return nil
}

func newToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// Parameters of argon2id: RFC 9106, section 4, second recommendation, with the memory of a small machine.
const (
	argonTime, argonMemory, argonThreads = 3, 64 << 10, 2
	saltSize, keySize                    = 16, 32
)

func hashPassword(password string) string {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, keySize)
	return base64.RawStdEncoding.EncodeToString(append(salt, key...))
}

// checkPassword takes the same time whether or not the account has a password.
func checkPassword(stored, password string) bool {
	raw, err := base64.RawStdEncoding.DecodeString(stored)
	known := err == nil && len(raw) == saltSize+keySize
	if !known {
		raw = make([]byte, saltSize+keySize)
	}
	if len(password) > 1024 {
		return false
	}
	key := argon2.IDKey([]byte(password), raw[:saltSize], argonTime, argonMemory, argonThreads, keySize)
	return subtle.ConstantTimeCompare(key, raw[saltSize:]) == 1 && known
}
