package inspection

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// What is kept of flows is long-lived, and most of what is made beside it is short-lived and small. So the heap may grow by the same number
// of bytes between two collections however large it is: doubling it would keep as much again for nothing, and a small share of a small one
// would have it collected all the time. Above ten times that it is a tenth, so that collecting stays cheap.
const (
	growBytes   = 9 << 19
	growAtLeast = 10 // percent
	growAtMost  = 100
)

// KeepSmall sets that, unless the environment says otherwise, and gives back what start-up alone needed. The function it returns ends it.
func KeepSmall() (end func()) {
	forgetStartup()
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	var ended atomic.Bool
	before := debug.SetGCPercent(growAtMost)
	growBy(grown())
	whenCollected(func() bool {
		if ended.Load() {
			return false
		}
		growBy(grown())
		return true
	})
	return func() {
		ended.Store(true)
		debug.SetGCPercent(before)
	}
}

// growBy sets how much may be made before the next collection, of a heap of which so much is in use.
func growBy(live uint64) { debug.SetGCPercent(percentOf(live)) }

func percentOf(live uint64) int {
	return int(min(max(100*growBytes/max(live, 1), growAtLeast), growAtMost))
}

// grown returns what the last collection found in use, and what counts as it.
func grown() uint64 {
	in := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/globals:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	metrics.Read(in)
	var sum uint64
	for _, s := range in {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}

// whenCollected calls f after each collection, for as long as it returns true.
func whenCollected(f func() bool) {
	runtime.AddCleanup(&[16]byte{}, func(struct{}) { // nobody has it: the next collection finds that out
		if f() {
			whenCollected(f)
		}
	}, struct{}{})
}
