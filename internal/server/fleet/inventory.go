package fleet

import (
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// Bounds of what is kept of one host.
const (
	maxInventory = 4 * protocol.MaxPrograms // programs
	maxScans     = 64
)

// merged is what is known of a host after another scan: that replaces what lies below the paths that it looked at, and nothing else. A scan
// that names no path is of the whole machine.
func merged(old *protocol.Inventory, scan protocol.Inventory, system string) *protocol.Inventory {
	latest := protocol.Scan{Scanned: scan.Scanned, Paths: scan.Paths, Files: scan.Files, Errors: scan.Errors, Omitted: scan.Omitted}
	out := &protocol.Inventory{Scanned: scan.Scanned, Programs: scan.Programs, Scans: []protocol.Scan{latest}}
	if old != nil && len(scan.Paths) > 0 {
		looked := func(path string) bool {
			in := func(dir string) bool { return below(path, dir, system) }
			return slices.ContainsFunc(scan.Paths, in) && !slices.ContainsFunc(scan.Except, in)
		}
		out.Scans = append(earlier(old, looked), latest)
		kept := slices.DeleteFunc(slices.Clone(old.Programs), func(p protocol.Program) bool { return looked(p.Path) })
		out.Programs = append(slices.Clone(scan.Programs), kept...)
	}
	out.Scans = out.Scans[max(0, len(out.Scans)-maxScans):]
	for _, s := range out.Scans {
		out.Paths = append(out.Paths, s.Paths...)
		out.Files, out.Errors, out.Omitted = out.Files+s.Files, out.Errors+s.Errors, out.Omitted+s.Omitted
	}
	if beyond := len(out.Programs) - maxInventory; beyond > 0 {
		out.Programs, out.Omitted = out.Programs[:maxInventory], out.Omitted+beyond
	}
	return out
}

// earlier are the scans before, less the paths that were looked at again.
func earlier(old *protocol.Inventory, looked func(path string) bool) []protocol.Scan {
	scans := old.Scans
	if len(scans) == 0 {
		scans = []protocol.Scan{{Scanned: old.Scanned, Paths: old.Paths, Files: old.Files, Errors: old.Errors, Omitted: old.Omitted}}
	}
	var out []protocol.Scan
	for _, s := range scans {
		if s.Paths = slices.DeleteFunc(slices.Clone(s.Paths), looked); len(s.Paths) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// below reports whether a path of a machine is another or lies in it. What separates names is the machine's, not ours.
func below(path, dir, system string) bool {
	if system == "windows" || system == "darwin" {
		path, dir = strings.ToLower(path), strings.ToLower(dir)
	}
	if system == "windows" {
		path, dir = strings.ReplaceAll(path, `\`, "/"), strings.ReplaceAll(dir, `\`, "/")
	}
	dir = strings.TrimSuffix(dir, "/")
	return path == dir || strings.HasPrefix(path, dir+"/")
}
