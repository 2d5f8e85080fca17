package logs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/logs"
)

func FuzzZeek(f *testing.F)     { fuzz(f, "zeek", "zeek-conn.log", "zeek-ssl.log", "zeek.json") }
func FuzzSuricata(f *testing.F) { fuzz(f, "suricata", "eve.json", "eve-suricata-7.json") }
func FuzzSquid(f *testing.F)    { fuzz(f, "squid", "squid.log") }
func FuzzDnsmasq(f *testing.F)  { fuzz(f, "dnsmasq", "dnsmasq.log") }

// fuzz reads anything as a log of a format: what comes out is an event that can be written down, within bounds.
func fuzz(f *testing.F, format string, seeds ...string) {
	for _, s := range seeds {
		raw, err := os.ReadFile("testdata/" + s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		for line := range bytes.Lines(raw) {
			f.Add(line)
		}
	}
	c := judged(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		j := logs.NewJudge(c, logs.Options{Source: format}) // a new one: what fails, fails by itself
		r, err := logs.NewReader(format, bytes.NewReader(raw), now)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n > bytes.Count(raw, []byte("\n")) {
				t.Fatal("more entries than lines")
			}
			found := j.Judge(e)
			found.Event.ID = event.NewID()
			if _, _, err := found.Event.Split(event.NewSalt()); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			if len(e.Name) > 4096 || len(e.Answers) > 32 || found.Finding.Flow.Confidence > event.Medium {
				t.Fatalf("out of bounds: %+v", e)
			}
		}
	})
}

func BenchmarkSuricata(b *testing.B) {
	raw, err := os.ReadFile("testdata/eve.json")
	if err != nil {
		b.Fatal(err)
	}
	raw = bytes.Repeat(raw, 1000)
	j := judge(b, "suricata", nil)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		r, err := logs.NewReader("suricata", bytes.NewReader(raw), now)
		if err != nil {
			b.Fatal(err)
		}
		for {
			e, err := r.Next()
			if err != nil {
				break
			}
			j.Judge(e)
		}
	}
}
