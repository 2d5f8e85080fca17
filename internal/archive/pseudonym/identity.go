package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Kind is what an identity is; it stands before its pseudonym.
type Kind string

// The kinds of identities.
const (
	Person  Kind = "person"
	Handle  Kind = "handle"  // of nobody who is known, or of several people
	Host    Kind = "host"    //
	Address Kind = "address" //
	User    Kind = "user"    // of an operating system, as in /home/user
)

// Identity is somebody or something that a pseudonym stands for. A person with all their handles is one.
type Identity struct {
	Kind Kind
	Name string // folded
}

// IsZero reports whether there is no identity.
func (i Identity) IsZero() bool { return i.Name == "" }

// alphabet is that of Crockford's base 32: without I, L, O and U, so that what was read aloud can be typed.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Lengths of pseudonyms, in characters of five bits. Forty bits meet by chance in one of 20,000 installations of 10,000 people; those that do
// meet get eighty.
const (
	shortForm = 8
	longForm  = 16
	group     = 4
)

// code returns the characters of an identity's pseudonym.
func code(key []byte, i Identity) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(string(i.Kind) + "\x00" + i.Name))
	return base32.NewEncoding(alphabet).EncodeToString(mac.Sum(nil)[:longForm*5/8])
}

// written joins kind and groups of characters.
func written(k Kind, characters string) string {
	var b strings.Builder
	b.WriteString(string(k))
	for len(characters) > 0 {
		n := min(group, len(characters))
		b.WriteString("-" + characters[:n])
		characters = characters[n:]
	}
	return b.String()
}

// Is reports whether a text has the form of a pseudonym.
func Is(s string) bool { return s != "" && normal(s) == s }

// normal returns the one form of a pseudonym that somebody typed, "" when it is none.
func normal(s string) string {
	kind, rest, ok := strings.Cut(strings.ToLower(strings.TrimSpace(s)), "-")
	switch Kind(kind) {
	case Person, Handle, Host, Address, User:
	default:
		return ""
	}
	rest = strings.ToUpper(strings.ReplaceAll(rest, "-", ""))
	rest = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(rest)
	if !ok || rest == "" || len(rest) > longForm || strings.Trim(rest, alphabet) != "" {
		return ""
	}
	return written(Kind(kind), rest)
}
