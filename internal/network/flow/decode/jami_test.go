package decode_test

import (
	"strings"
	"testing"
)

// TestOpenDHT: a packet of Jami's hash table is known by its map's ends, and not one of another network, form or kind.
func TestOpenDHT(t *testing.T) {
	id := "\xa2id\xc4\x14" + strings.Repeat("\x9b", 20)
	for _, c := range []struct {
		name, payload string
		known         bool
	}{
		{"ping", "\x85\xa1a\x81" + id + "\xa1q\xa4ping\xa1t\xce\xec\x99\x34\x97\xa1y\xa1q\xa1v\xa4RNG1", true},
		{"answer", "\x84\xa1r\x82" + id + "\xa2sa\xc4\x04\xcb\x00q\x0a\xa1t\xce\xec\x99\x34\x97\xa1y\xa1r\xa1v\xa4RNG1", true},
		{"another network", "\x85\xa1a\x81" + id + "\xa1q\xa4ping\xa1t\xce\xec\x99\x34\x97\xa1y\xa1q\xa1v\xa4XYZ1", false},
		{"no kind", "\x85\xa1a\x81" + id + "\xa1q\xa4ping\xa1t\xce\xec\x99\x34\x97\xa1z\xa1q\xa1v\xa4RNG1", false},
		{"no map", "\x25\xa1a\x81" + id + "\xa1q\xa4ping\xa1t\xce\xec\x99\x34\x97\xa1y\xa1q\xa1v\xa4RNG1", false},
		{"a word at the end", strings.Repeat("x", 40) + "\xa1v\xa4RNG1", false},
		{"the end alone", "\xa1v\xa4RNG1", false},
		{"bittorrent's table", "d1:ad2:id20:" + strings.Repeat("\x9b", 20) + "e1:q4:ping1:t2:aa1:v4:RNG11:y1:qe", false},
	} {
		if fact, _ := datagram([]byte(c.payload), 4222); (fact.Decoder == "opendht") != c.known {
			t.Errorf("%s: found %v", c.name, fact)
		}
	}
}
