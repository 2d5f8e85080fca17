//go:build unix

package quarantine

import (
	"bufio"
	"bytes"
	"context"
	"strings"
)

// managers are asked in this order.
func managers() []func(context.Context, string) (Owner, bool) {
	return []func(context.Context, string) (Owner, bool){dpkgOwner, rpmOwner, pathOwner}
}

// installedCommand: only Windows has commands that are found in a registry.
func installedCommand(Owner) []string { return nil }

// dpkgOwner asks dpkg, also for the name that the file had before /bin and /lib were merged into /usr.
func dpkgOwner(ctx context.Context, path string) (Owner, bool) {
	paths := []string{path}
	if before, ok := strings.CutPrefix(path, "/usr"); ok {
		paths = append(paths, before)
	}
	for _, p := range paths {
		out, err := ask(ctx, "dpkg-query", "--search", escapeGlob(p))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader(out))
		for lines.Scan() {
			name, of, found := strings.Cut(lines.Text(), ": ")
			if !found || of != p || strings.Contains(name, ",") || strings.Contains(name, " ") {
				continue // a diversion, or a file of several packages
			}
			version, err := ask(ctx, "dpkg-query", "--show", "--showformat=${Version}", "--", name)
			if err != nil {
				continue
			}
			return Owner{Manager: Dpkg, Package: name, Version: strings.TrimSpace(string(version))}, true
		}
	}
	return Owner{}, false
}

// escapeGlob keeps dpkg-query from taking a path for a pattern.
func escapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

func rpmOwner(ctx context.Context, path string) (Owner, bool) {
	out, err := ask(ctx, "rpm", "--query", "--file", "--queryformat", "%{NAME}\t%{VERSION}-%{RELEASE}\n", "--", path)
	if err != nil {
		return Owner{}, false
	}
	line, rest, _ := strings.Cut(string(out), "\n")
	name, version, ok := strings.Cut(line, "\t")
	return Owner{Manager: "rpm", Package: name, Version: version}, ok && strings.TrimSpace(rest) == ""
}

// pathOwner knows snaps and flatpaks by the folders that only they write to.
func pathOwner(_ context.Context, path string) (Owner, bool) {
	for _, p := range []struct{ prefix, manager, end string }{
		{"/snap/", "snap", "/"}, {"/var/lib/snapd/snaps/", "snap", "_"}, {"/var/lib/flatpak/app/", "flatpak", "/"},
	} {
		if rest, ok := strings.CutPrefix(path, p.prefix); ok {
			if name, _, ok := strings.Cut(rest, p.end); ok {
				return Owner{Manager: p.manager, Package: name}, true
			}
		}
	}
	return Owner{}, false
}
