package decode

import (
	"crypto/aes"
	"crypto/cipher"
	"math/rand/v2"
	"testing"
)

// TestCounterTag: the one block that is decrypted is what counter mode makes of it, when the counter overflows too.
func TestCounterTag(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for n := range 200 {
		b := make([]byte, 64)
		if _, err := random.Read(b); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 { // the last eight bytes, or all, end with this block or one before it
			for i := 55; i >= 48-8*(n%4/2); i-- {
				b[i] = 0xff
			}
			b[55] -= byte(n / 4 % 5)
		}
		block, err := aes.NewCipher(b[8:40])
		if err != nil {
			t.Fatal(err)
		}
		var plain [64]byte
		cipher.NewCTR(block, b[40:56]).XORKeyStream(plain[:], b)
		if got := counterTag(block, b); got != [4]byte(plain[56:60]) {
			t.Fatalf("counter %x: %x, want %x", b[40:56], got, plain[56:60])
		}
	}
}
