package classify

import "time"

// Thresholds are the numbers that make behaviour a fact. They were chosen by looking at captures, unlike names, grammars and published
// formats: bench/recognition/evaluate fits them again without each source of captures, and docs/reference/recognition.md has the outcome.
type Thresholds struct {
	SkypePeers  int     // datagrams to so many peers make a socket one of classic Skype's
	SkypeStep   uint16  // object ids go up by less from datagram to datagram
	SkypeShare  float64 // of the steps must be so
	SkypeMisfit float64 // of the peers may be spoken to in another way

	KeepAnswer time.Duration // how long a DNS answer ties an address to a name: clients keep using one long after its time to live
	KeepSocket time.Duration // how long a socket's app names its other flows
}

// DefaultThresholds returns the numbers that the product uses.
func DefaultThresholds() Thresholds {
	return Thresholds{
		SkypePeers: 8, SkypeStep: 64, SkypeShare: 0.8, SkypeMisfit: 0.1,
		KeepAnswer: 2 * time.Hour, KeepSocket: 10 * time.Minute,
	}
}
