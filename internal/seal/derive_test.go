package seal_test

import (
	"bytes"
	"testing"

	"github.com/chaperone-im/chaperone/internal/seal"
)

// TestDerive holds derived secrets to the key, the salt and the purpose: all three, and nothing else.
func TestDerive(t *testing.T) {
	k := key(t)
	derive := func(k *seal.PrivateKey, salt, purpose string) []byte {
		secret, err := k.Derive([]byte(salt), purpose, 32)
		if err != nil || len(secret) != 32 {
			t.Fatalf("%d bytes, %v", len(secret), err)
		}
		return secret
	}
	a := derive(k, "salt", "index")
	locked, err := k.Lock("words")
	if err != nil {
		t.Fatal(err)
	}
	again, err := seal.UnlockKey(locked, "words")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, derive(again, "salt", "index")) {
		t.Error("the same key gave another secret after it was stored")
	}
	for name, other := range map[string][]byte{"key": derive(key(t), "salt", "index"), "salt": derive(k, "pepper", "index"), "purpose": derive(k, "salt", "other")} {
		if bytes.Equal(a, other) {
			t.Errorf("another %s gave the same secret", name)
		}
	}
}
