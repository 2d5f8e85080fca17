package event

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// Header is the part of a record that is never sealed and never destroyed. It names nobody: ids of handles, rooms and hosts are random.
type Header struct {
	Version     int       `json:"v"`
	ID          ID        `json:"id"`
	Kind        Kind      `json:"kind"`
	Phase       string    `json:"phase"`
	Time        time.Time `json:"time"`
	Until       time.Time `json:"until"`
	Received    time.Time `json:"received"`
	Connector   string    `json:"connector"`
	Source      string    `json:"source"`
	Room        string    `json:"room"`
	Incarnation string    `json:"incarnation"`
	From        string    `json:"from"`
	To          []string  `json:"to"`
	Host        string    `json:"host"`
	Refers      ID        `json:"refers"`
	Reason      string    `json:"reason"`
	Verdict     Action    `json:"verdict"`
	Enforced    bool      `json:"enforced"`
	Policy      string    `json:"policy"`
	Objects     []Object  `json:"objects"`
	Commitment  string    `json:"commitment"` // hex HMAC-SHA256 of the content under its salt
	Sealed      string    `json:"sealed"`     // hex SHA-256 of the sealed content
}

// Object is a sealed file that a record brought.
type Object struct {
	Name   string `json:"name"`   // random
	SHA256 string `json:"sha256"` // hex, of the sealed bytes
}

// sealedContent is what is sealed: the content, the names behind the header's ids, the verdict in full, and the salt of the commitment.
type sealedContent struct {
	Version int     `json:"v"`
	Salt    []byte  `json:"salt"`
	Room    Room    `json:"room"`
	From    Party   `json:"from"`
	To      []Party `json:"to"`
	Host    Host    `json:"host"`
	Verdict Verdict `json:"verdict"`
	Content Content `json:"content"`
}

// SaltSize is the size of the salt in a record's content, in bytes.
const SaltSize = 32

// NewSalt returns a random salt.
func NewSalt() []byte {
	salt := make([]byte, SaltSize)
	rand.Read(salt)
	return salt
}

// Split makes the two halves of a record from e, whose parties, room and host must have their ids: the header (still without the digest of
// the sealed bytes) and the canonical bytes of the content, to be sealed.
func (e *Event) Split(salt []byte) (Header, []byte, error) {
	if len(salt) != SaltSize {
		return Header{}, nil, errors.New("event: salt has the wrong size")
	}
	content, err := Canonical(&sealedContent{FormatVersion, salt, e.Room, e.From, e.To, e.Host, e.Verdict, e.Content})
	if err != nil {
		return Header{}, nil, err
	}
	h := Header{
		Version: FormatVersion, ID: e.ID, Kind: e.Kind, Phase: e.Phase,
		Time: e.Time, Until: e.Until, Received: e.Received, Connector: e.Connector, Source: e.Source,
		Room: e.Room.ID, Incarnation: e.Room.Incarnation, From: e.From.ID, Host: e.Host.ID,
		Refers: e.Refers, Reason: e.Reason,
		Verdict: e.Verdict.Action, Enforced: e.Verdict.Enforced, Policy: e.Verdict.Policy,
		Commitment: commit(salt, content),
	}
	for _, to := range e.To {
		h.To = append(h.To, to.ID)
	}
	for _, f := range e.Files {
		if f.Object != "" {
			h.Objects = append(h.Objects, Object{f.Object, f.Sealed})
		}
	}
	return h, content, nil
}

// Assemble makes an event of the two halves of a record, and checks that they belong together.
func Assemble(h Header, content []byte) (*Event, error) {
	var c sealedContent
	if err := ParseCanonical(content, &c); err != nil {
		return nil, err
	}
	if commit(c.Salt, content) != h.Commitment {
		return nil, errors.New("event: content does not match the commitment in its header")
	}
	return &Event{
		ID: h.ID, Kind: h.Kind, Phase: h.Phase, Time: h.Time, Until: h.Until, Received: h.Received,
		Connector: h.Connector, Source: h.Source, Room: c.Room, From: c.From, To: c.To, Host: c.Host,
		Refers: h.Refers, Reason: h.Reason, Verdict: c.Verdict, Content: c.Content,
	}, nil
}

// ParseHeader reads the canonical bytes of a header.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if err := ParseCanonical(b, &h); err != nil {
		return Header{}, err
	}
	if h.Version != FormatVersion {
		return Header{}, errors.New("event: header of a format version this program does not know")
	}
	return h, nil
}

// Digest returns the hex SHA-256 of b, as headers hold it.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func commit(salt, content []byte) string {
	m := hmac.New(sha256.New, salt)
	m.Write(content)
	return hex.EncodeToString(m.Sum(nil))
}
