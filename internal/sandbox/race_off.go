//go:build !race

package sandbox

// underRace says that the race detector is compiled in.
const underRace = false
