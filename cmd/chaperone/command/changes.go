//go:build linux

package command

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/chaperone-im/chaperone/internal/server"
)

// PrintChanges prints how verdicts on record would change.
func PrintChanges(out io.Writer, sum server.Replayed) {
	for _, change := range slices.Sorted(maps.Keys(sum.Changes)) {
		fmt.Fprintf(out, "%d %s\n", sum.Changes[change], change)
	}
	if sum.Erased > 0 {
		fmt.Fprintf(out, "%d cannot be decided anew: their content was destroyed\n", sum.Erased)
	}
}
