// Package catalog is the catalog of messengers as data: one file per messenger under apps/, embedded into the program.
package catalog

import "embed"

// Files holds apps/*.yaml.
//
//go:embed apps
var Files embed.FS
