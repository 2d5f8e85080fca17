package programtest

import (
	"maps"
	"slices"
)

func sortedKeys(files map[string][]byte) []string { return slices.Sorted(maps.Keys(files)) }
