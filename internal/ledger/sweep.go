package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/transparency-dev/tessera/api/layout"
)

// maxLevel is the highest level of tiles that a log of any size has.
const maxLevel = 7

// sweep removes what a crash left beyond the log's integrated size: entry bundles and tiles of a batch that never became part of the tree.
// The next batch may hold the same frames in another order, and a file that contradicts the tree would look like tampering.
func sweep(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, ".state", "treeState"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var state struct {
		Size uint64 `json:"size"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &state)
	}
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if err := sweepEdge(dir, layout.EntriesPath, state.Size); err != nil {
		return err
	}
	for level := range uint64(maxLevel + 1) {
		path := func(n uint64, p uint8) string { return layout.TilePath(level, n, p) }
		if err := sweepEdge(dir, path, state.Size>>(level*layout.TileHeight)); err != nil {
			return err
		}
	}
	return nil
}

// sweepEdge removes what lies beyond a size at one level: the whole tile at the edge, longer partial ones, and the tiles after it.
func sweepEdge(dir string, path func(uint64, uint8) string, size uint64) error {
	edge, width := size/layout.TileWidth, size%layout.TileWidth
	for n := edge; n <= edge+1; n++ {
		base := filepath.Join(dir, path(n, 0))
		if err := os.Remove(base); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep: %w", err)
		}
		partial, err := os.ReadDir(base + ".p")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep: %w", err)
		}
		for _, f := range partial {
			w, err := strconv.ParseUint(f.Name(), 10, 64)
			if n == edge && err == nil && w <= width {
				continue
			}
			if err := os.Remove(filepath.Join(base+".p", f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("sweep: %w", err)
			}
		}
	}
	return nil
}
