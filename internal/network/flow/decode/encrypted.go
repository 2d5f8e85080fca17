package decode

import "math/bits"

// minEncrypted is the least payload whose bits are counted, maxOpaque what a client may say while its server says nothing.
const (
	minEncrypted = 16
	maxOpaque    = 2 << 10
)

// encrypted says that nothing of a flow could be read from its first byte on: what no protocol does that has a handshake in clear. sides
// is both, or client when the server said too little. It names nobody.
func encrypted(in *Segments) (Fact, bool) {
	if !random(in.Client) {
		return Fact{}, false
	}
	fact := Fact{Decoder: "encrypted"}
	switch {
	case len(in.Server) < minEncrypted:
		fact.add("sides", "client")
	case random(in.Server):
		fact.add("sides", "both")
	default:
		return Fact{}, false
	}
	return fact, true
}

// random is the test of Wu et al., "How the Great Firewall of China Detects and Blocks Fully Encrypted Traffic", USENIX Security 2023: about
// half of the bits are set, and neither the beginning nor much of the rest is text.
func random(b []byte) bool {
	b = b[:min(len(b), 1460)]
	if len(b) < minEncrypted {
		return false
	}
	ones, text, run, longest := 0, 0, 0, 0
	for i, c := range b {
		ones += bits.OnesCount8(c)
		if c < 0x20 || c > 0x7e {
			run = 0
			continue
		}
		text++
		run++
		longest = max(longest, run)
		if i == 5 && run == 6 {
			return false
		}
	}
	density := float64(ones) / float64(len(b))
	return density > 3.4 && density < 4.6 && 2*text <= len(b) && longest <= 20
}
