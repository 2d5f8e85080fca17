package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDisputesAreProved: a label is put right only where the capture holds the bytes that disprove it.
func TestDisputesAreProved(t *testing.T) {
	dir := folder(t)
	labels, err := readLabels(filepath.Join(dir, "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	l := labels[len(labels)-1]
	l.app, l.kind = "none", "tls"
	fields := strings.Fields(l.key) // capture, protocol, ends
	f, err := os.Open(filepath.Join(dir, l.capture))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	next, err := openPackets(f)
	if err != nil {
		t.Fatal(err)
	}
	first, err := next()
	if err != nil {
		t.Fatal(err)
	}
	d := dispute{capture: l.capture, flow: strings.Join(fields[1:], " "), key: l.key, is: "zoom", proofs: []proof{{1, bytes.Clone(first[:8])}}}
	pairs := []pair{{&l, &verdict{app: "zoom"}}}
	elsewhere := dispute{capture: "other__x.pcap", key: "other__x.pcap udp 1.1.1.1:1 2.2.2.2:2"}
	right, applied, err := corrected(dir, pairs, []dispute{d, elsewhere})
	if err != nil || len(applied) != 1 || right[0].label.app != "zoom" || l.app != "none" || pairs[0].label.app != "none" {
		t.Errorf("%v, %d applied, is %s, was %s", err, len(applied), right[0].label.app, pairs[0].label.app)
	}
	if score(pairs, plain).all.falsely != 1 || score(right, plain).all.right != 1 {
		t.Errorf("%+v, then %+v", score(pairs, plain).all, score(right, plain).all)
	}
	for what, p := range map[string]proof{"does not hold": {1, []byte("not there")}, "in no packet": {1 << 20, first[:8]}} {
		d.proofs = []proof{p}
		if _, _, err := corrected(dir, pairs, []dispute{d}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestDisputedTable: the table that is shipped can be read, and every row proves something.
func TestDisputedTable(t *testing.T) {
	list, err := readDisputes(disputedTable)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, d := range list {
		if len(d.proofs) == 0 || d.because == "" || d.is == "" {
			t.Errorf("%+v", d)
		}
	}
	var page strings.Builder
	e := evaluation{disputes: list}
	e.reportDisputes(&page)
	if got := page.String(); strings.Count(got, "\n| ") != len(list)+1 || strings.Contains(got, "<stream") {
		t.Error(got)
	}
	for _, bad := range []string{"a,b\n", "h,h,h,h,h,h,h\nc,udp,x,y,z,1:00,w\n", "h,h,h,h,h,h,h\nc,udp,1.1.1.1:1,2.2.2.2:2,z,1:zz,w\n", "h,h,h,h,h,h,h\nc,udp,1.1.1.1:1,2.2.2.2:2,z,one:00,w\n"} {
		if got, err := readDisputes(bad); err == nil && len(got) > 0 {
			t.Errorf("%q is taken: %+v", bad, got)
		}
	}
}
