//go:build race

package verify_test

// Under the race detector each attack takes several times as long, and it teaches nothing new.
const (
	attacks = 100 // that TestAttacks plays
	stride  = 9   // every so many bytes, from a random one on, are flipped by TestEveryByte
)
