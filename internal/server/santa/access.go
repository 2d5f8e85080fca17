package santa

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/outside"
)

// Bounds of the file of tokens.
const (
	maxTokens = 8 << 20
	minToken  = 20 // characters
)

// access says which machine a request is of.
type access struct {
	authorities *x509.CertPool // nil: no certificates are taken
	path        string         // of the tokens, "" for none

	mu     sync.Mutex
	read   time.Time // when the file that was read was changed
	size   int64
	tokens map[string][sha256.Size]byte // by machine id in lower case
}

func newAccess(ca, tokens string) (*access, error) {
	a := &access{path: tokens}
	if ca == "" && tokens == "" {
		return nil, errors.New("machines need client_ca or tokens to be let in by")
	}
	if ca != "" {
		var err error
		if a.authorities, err = outside.Authorities(ca); err != nil {
			return nil, err
		}
	}
	if tokens != "" {
		return a, a.renew()
	}
	return a, nil
}

// tls takes client certificates where they are wanted; where tokens are taken too, they can be absent.
func (a *access) tls(pair tls.Certificate) *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	switch {
	case a.authorities == nil:
	case a.path == "":
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.authorities
	default:
		c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, a.authorities
	}
	return c
}

// allowed tells whether a request is of a machine: by a certificate whose common name or DNS name is its id, or by its token
// (Authorization: Bearer, which Santa's SyncExtraHeaders sends).
func (a *access) allowed(r *http.Request, machine string) bool {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		cert := r.TLS.VerifiedChains[0][0]
		for _, name := range append([]string{cert.Subject.CommonName}, cert.DNSNames...) {
			if name != "" && strings.EqualFold(name, machine) {
				return true
			}
		}
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || a.path == "" {
		return false
	}
	want, known := a.token(machine)
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && known
}

// token returns the digest of a machine's token, of the file as it is now; a file that cannot be read leaves what was read.
func (a *access) token(machine string) ([sha256.Size]byte, bool) {
	if info, err := os.Stat(a.path); err == nil {
		a.mu.Lock()
		changed := !info.ModTime().Equal(a.read) || info.Size() != a.size
		a.mu.Unlock()
		if changed {
			_ = a.renew() // the tokens that were read stay
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.tokens[strings.ToLower(machine)]
	return t, ok
}

func (a *access) renew() error {
	info, err := os.Stat(a.path)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	text, err := outside.ReadFile(a.path, maxTokens)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	tokens, err := parseTokens(string(text))
	if err != nil {
		return fmt.Errorf("tokens: %s: %w", a.path, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens, a.read, a.size = tokens, info.ModTime(), info.Size()
	return nil
}

// parseTokens reads lines of a machine's id and its token. What begins with # is a comment.
func parseTokens(text string) (map[string][sha256.Size]byte, error) {
	out, seen := map[string][sha256.Size]byte{}, map[[sha256.Size]byte]bool{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 || !machineID(fields[0]) || len(fields[1]) < minToken {
			return nil, fmt.Errorf("line %d: want the id of a machine and a token of at least %d characters", n, minToken)
		}
		id, token := strings.ToLower(fields[0]), sha256.Sum256([]byte(fields[1]))
		if _, twice := out[id]; twice || seen[token] {
			return nil, fmt.Errorf("line %d: a machine or a token that stands above", n)
		}
		out[id], seen[token] = token, true
	}
	return out, nil
}

// machineID tells whether a text can be the id of a machine: letters, digits, hyphens, dots and underscores.
func machineID(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}
