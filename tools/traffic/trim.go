package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// trim writes the beginning of each flow of a capture, at most so many packets of each, and so many bytes in all.
func trim(from, to string, packets, size int) (int, error) {
	b, err := os.ReadFile(from)
	if err != nil {
		return 0, err
	}
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
		return 0, errors.New(from + " is no capture in classic form")
	}
	out := append([]byte(nil), b[:24]...)
	seen := map[string]int{}
	for b = b[24:]; len(b) >= 16; {
		n := 16 + int(binary.LittleEndian.Uint32(b[8:]))
		if n > len(b) {
			break
		}
		if key := fiveTuple(b[16:n]); key != "" {
			if seen[key]++; seen[key] <= packets && len(out)+n <= size {
				out = append(out, b[:n]...)
			}
		}
		b = b[n:]
	}
	if len(seen) == 0 {
		return 0, fmt.Errorf("%s holds no flow", from)
	}
	return len(seen), os.WriteFile(to, out, 0o644)
}

// fiveTuple names the flow of an Ethernet frame with IPv4 and TCP or UDP, both directions alike; "" is none.
func fiveTuple(b []byte) string {
	if len(b) < 34 || b[12] != 8 || b[13] != 0 || b[14]>>4 != 4 || b[23] != 6 && b[23] != 17 {
		return ""
	}
	at := 14 + int(b[14]&15)*4
	if len(b) < at+4 {
		return ""
	}
	a, z := string(b[26:30])+string(b[at:at+2]), string(b[30:34])+string(b[at+2:at+4])
	if a > z {
		a, z = z, a
	}
	return string(b[23]) + a + z
}
