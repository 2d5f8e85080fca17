package event

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"
)

// ID is the id of an event: a UUIDv7 in its text form, "" for none.
type ID string

// NewID returns a new id: UUIDv7, ordered by time (RFC 9562, section 5.7).
func NewID() ID { return ID(uuid.Must(uuid.NewV7()).String()) }

// ImportID returns the id of an imported event: the same source always gives the same id, and nobody without the key can tell which.
func ImportID(key []byte, connector, source, revision string) ID {
	m := hmac.New(sha256.New, key)
	for _, part := range []string{connector, source, revision} {
		fmt.Fprintf(m, "%d:%s", len(part), part)
	}
	u := uuid.UUID(m.Sum(nil)[:16])
	u[6] = u[6]&0x0f | 0x80 // version 8 (RFC 9562, section 5.8)
	u[8] = u[8]&0x3f | 0x80
	return ID(u.String())
}

// RandomID returns an id that says nothing, not even when it was made: of handles, rooms, hosts and objects.
func RandomID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}
