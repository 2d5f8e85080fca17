// Package seal encrypts each record under a key of its own, so that one record can be destroyed without touching any other.
//
// The key of a record is a leaf of an HMAC key tree (the GGM puncturable construction) of depth 32 under a random root. Roots are wrapped
// to the compliance keys (HPKE with ML-KEM-768 + X25519, RFC 9180) and fsynced before their first record. Erasing a record replaces the
// wrapped root by the siblings along the leaf's path: the neighbours stay readable, the leaf's key is gone.
package seal

import "errors"

// Errors of opening.
var (
	ErrErased = errors.New("seal: the key of this record was destroyed")
	ErrNoKey  = errors.New("seal: no compliance key at hand opens this record")
	// ErrRootLost says that the file of a record's root is missing or damaged: only a copy of it makes the record readable again.
	ErrRootLost = errors.New("seal: the file of this record's key is lost")
)

// Scope is what shares a root: a room, else a host, else "admin", by its random id.
type Scope string

// Sealer seals contents. A gateway that only seals cannot read what it sealed before.
type Sealer interface {
	// Seal returns the sealed bytes of content under the next key of scope's current root, bound to context (additional data).
	Seal(scope Scope, content, context []byte) ([]byte, error)
}

// Opener opens sealed bytes and destroys their keys.
type Opener interface {
	Open(sealed, context []byte) ([]byte, error)
	// Erase destroys the key of the sealed record, durably.
	Erase(sealed []byte) error
}
