package fleet

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// Code is an enrolment code as the server keeps it: without its secret. Field names are API.
type Code struct {
	Name    string    `json:"name"`
	Digest  []byte    `json:"digest"` // SHA-256 of the secret, which is random
	By      string    `json:"by"`
	Made    time.Time `json:"made"`
	Until   time.Time `json:"until"`
	Uses    int       `json:"uses"` // that are left
	Comment string    `json:"comment,omitempty"`
}

// Bounds of codes.
const (
	maxCodes    = 100
	MaxCodeLife = 30 * 24 * time.Hour
	MaxCodeUses = 20_000
)

// errCode is the one answer to every code that is not good: which it was is in the log.
var errCode = errors.New("the enrolment code is unknown, used up or over")

// codes are the enrolment codes in force, in one file.
type codes struct {
	path string
	now  func() time.Time
	mu   sync.Mutex
	list map[string]*Code
}

func openCodes(dir string, now func() time.Time) (*codes, error) {
	c := &codes{path: filepath.Join(dir, "codes.json"), now: now, list: map[string]*Code{}}
	if err := readJSON(c.path, &c.list); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return c, nil
}

// check says what is wrong with a code that somebody asks for.
func checkCode(life time.Duration, uses int) error {
	if life <= 0 || life > MaxCodeLife {
		return fmt.Errorf("an enrolment code lives up to %d days", int(MaxCodeLife.Hours()/24))
	}
	if uses < 1 || uses > MaxCodeUses {
		return fmt.Errorf("an enrolment code has 1 to %d uses", MaxCodeUses)
	}
	return nil
}

// make makes a code.
func (c *codes) make(pin [16]byte, by, comment string, life time.Duration, uses int) (protocol.Code, error) {
	if err := checkCode(life, uses); err != nil {
		return protocol.Code{}, err
	}
	code := protocol.NewCode(pin)
	sum := sha256.Sum256(code.Secret[:])
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.list, func(_ string, old *Code) bool { return now.After(old.Until) || old.Uses == 0 })
	if len(c.list) >= maxCodes {
		return code, fmt.Errorf("there are %d enrolment codes already", maxCodes)
	}
	c.list[code.Name()] = &Code{Name: code.Name(), Digest: sum[:], By: by, Made: now, Until: now.Add(life), Uses: uses, Comment: comment}
	return code, writeJSON(c.path, c.list)
}

// use takes one use of a code.
func (c *codes) use(name string, secret []byte) error {
	sum := sha256.Sum256(secret)
	c.mu.Lock()
	defer c.mu.Unlock()
	code := c.list[name]
	if code == nil || subtle.ConstantTimeCompare(sum[:], code.Digest) != 1 || code.Uses == 0 || c.now().After(code.Until) {
		return errCode
	}
	code.Uses--
	if err := writeJSON(c.path, c.list); err != nil {
		code.Uses++
		return err
	}
	return nil
}

// withdraw ends a code.
func (c *codes) withdraw(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list[name] == nil {
		return errCode
	}
	delete(c.list, name)
	return writeJSON(c.path, c.list)
}

// all returns copies of those in force, the oldest first.
func (c *codes) all() []Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Code
	for _, code := range c.list {
		if code.Uses > 0 && c.now().Before(code.Until) {
			out = append(out, *code)
		}
	}
	slices.SortFunc(out, func(a, b Code) int { return strings.Compare(a.Made.String()+a.Name, b.Made.String()+b.Name) })
	return out
}
