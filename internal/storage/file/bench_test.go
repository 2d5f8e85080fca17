package file_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// BenchmarkAppend has 64 writers that append one record of 250 + 400 bytes each time and wait until it is durable.
func BenchmarkAppend(b *testing.B) {
	j, _ := open(b, b.TempDir(), file.Options{})
	record := journal.Record{Header: make([]byte, 250), Sealed: make([]byte, 400)}
	const writers = 64
	took := make([][]time.Duration, writers)
	left := make(chan struct{}, b.N)
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	b.ResetTimer()
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for range left {
				start := time.Now()
				if _, err := j.Append(context.Background(), record); err != nil {
					b.Error(err)
				}
				took[w] = append(took[w], time.Since(start))
			}
		})
	}
	group.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkFrames reads a journal from end to end.
func BenchmarkFrames(b *testing.B) {
	dir := b.TempDir()
	j, _ := open(b, dir, file.Options{})
	record := journal.Record{Header: make([]byte, 250), Sealed: make([]byte, 400)}
	records := slices.Repeat([]journal.Record{record}, 64)
	const frames = 500
	for range frames {
		if _, err := j.Append(b.Context(), records...); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for _, err := range j.Frames(b.Context(), journal.Local, 1) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*frames*64)/b.Elapsed().Seconds(), "records/s")
}
