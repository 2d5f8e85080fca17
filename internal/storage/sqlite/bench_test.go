package sqlite_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// corpus is the folder of real input, which may be missing.
func corpus() string {
	if root := os.Getenv("CHAPERONE_CORPUS"); root != "" {
		return root
	}
	return "../../../../shared/corpus"
}

// chat makes entries of real chat: ubuntu-irc of the corpus.
func chat(tb testing.TB, most int) []archive.Entry {
	tb.Helper()
	f, err := os.Open(filepath.Join(corpus(), "chat", "ubuntu-irc.jsonl"))
	if err != nil {
		tb.Skipf("no corpus of chat: %v (set CHAPERONE_CORPUS)", err)
	}
	defer f.Close()
	var out []archive.Entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && len(out) < most {
		var l struct{ ID, T, Ch, From, Text string }
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			tb.Fatal(err)
		}
		at, err := time.Parse("2006-01-02T15:04", l.T)
		if err != nil {
			if at, err = time.Parse(time.DateOnly, l.T); err != nil {
				tb.Fatal(err)
			}
		}
		out = append(out, archivetest.Entry(len(out), &event.Event{
			ID: event.ImportID([]byte("bench"), "irc", l.ID, ""), Kind: event.Message, Time: at, Received: at, Connector: "irc", Source: event.SourceImport,
			Room: event.Room{ID: "r" + l.Ch, Name: l.Ch}, From: event.Party{ID: "h" + l.From, Handle: l.From},
			Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise", Enforced: true, Policy: "0123456789abcdef"}, Content: event.Content{Text: l.Text, Native: l.ID},
		}, false))
	}
	return out
}

func fill(tb testing.TB, s *sqlite.Store, entries []archive.Entry) {
	tb.Helper()
	for i := 0; i < len(entries); i += 2000 {
		if err := s.Apply(tb.Context(), entries[i:min(i+2000, len(entries))]); err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	entries := chat(b, 50_000)
	n := 0
	for b.Loop() {
		s := open(b, b.TempDir(), testKey())
		fill(b, s, entries)
		n += len(entries)
		s.Close()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkFind measures the newest 50 of each query over all chat of the corpus.
func BenchmarkFind(b *testing.B) {
	entries := chat(b, 1<<30)
	dir := b.TempDir()
	s := open(b, dir, testKey())
	start := time.Now()
	fill(b, s, entries)
	took := time.Since(start)
	size := int64(0)
	for _, name := range []string{sqlite.Name, sqlite.Name + "-wal"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			size += info.Size()
		}
	}
	fmt.Printf("%d messages, %.0f/s, %d bytes each\n", len(entries), float64(len(entries))/took.Seconds(), size/int64(len(entries)))
	for _, q := range []string{"*", "the", "ubuntu", "segfault", "ubuntu kernel", `"how do i"`, "install NEAR/3 driver", "inst*", "the NOT ubuntu", "from:seveas", "from:seveas ubuntu", "after:2006 before:2006-06 wifi",
		"room:#ubuntu kernel", "(nvidia OR ati) driver NOT help", "NOT the", "zzzqqq"} {
		e, err := search.Parse(q)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(q, func(b *testing.B) {
			found := 0
			for b.Loop() {
				found = 0
				for _, err := range s.Find(b.Context(), e, "") {
					if err != nil {
						b.Fatal(err)
					}
					if found++; found == 50 {
						break
					}
				}
			}
			b.ReportMetric(float64(found), "found")
		})
		b.Run("count "+q, func(b *testing.B) {
			n := 0
			for b.Loop() {
				if n, err = s.Count(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "found")
		})
	}
}
