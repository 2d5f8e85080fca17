package inspection

import (
	"maps"
	"testing"
)

func TestShortNames(t *testing.T) {
	for _, want := range []map[string]string{
		{"/a/x.pcap": "x.pcap", "/a/y.pcap": "y.pcap", "-": "-"},
		{"/a/x.pcap": "a/x.pcap", "/b/x.pcap": "b/x.pcap", "/b/y.pcap": "y.pcap"},
		{"/1/a/x": "1/a/x", "/2/a/x": "2/a/x", "/2/b/x": "b/x"},
		{"x": "x", "/x": "/x", "/a/x": "a/x"},
		{"/a//x": "a//x", "/b/x": "b/x"},
		{"a/x": "a/x", "b/a/x": "b/a/x"},
	} {
		var paths []string
		for p := range want {
			paths = append(paths, p, p) // who is given twice is the same
		}
		if got := shortNames(paths); !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
