package inspection

import (
	"os"
	"runtime/debug"
)

// What is kept of flows is long-lived, and most of what is made beside it is short-lived and small. Collecting when the heap has grown by
// a tenth keeps a large table small; counting some memory that is never touched, and so is never real, keeps a small one from being
// collected all the time.
const (
	collectAt = 10
	untouched = 36 << 20
	piece     = 1 << 20
)

// KeepSmall sets that, unless the environment says otherwise, and gives back what start-up alone needed. What it returns must be kept alive
// for as long.
func KeepSmall() [][]byte {
	forgetStartup()
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(collectAt)
	var all [][]byte
	for range untouched / piece {
		b := make([]byte, piece)
		neverTouched(b) // where there was something before, it has just been cleared
		all = append(all, b)
	}
	return all
}
