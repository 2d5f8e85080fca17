//go:build !race

package verify_test

const (
	attacks = 1000 // that TestAttacks plays
	stride  = 1    // TestEveryByte flips every byte
)
