// Package catalog is the catalog of messengers as data: one file per messenger under apps/, and samples of what it describes under
// samples/, embedded into the program.
package catalog

import "embed"

// Files holds apps/*.yaml, and samples/*/ with captures and their labels.yaml.
//
//go:embed apps samples
var Files embed.FS
