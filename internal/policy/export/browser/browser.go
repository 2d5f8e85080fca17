// Package browser writes a plan as the managed policies of web browsers, which keep web clients and downloads of messengers closed: the
// URLBlocklist of Chromium, Chrome and Edge (chromeenterprise.google/policies), the WebsiteFilter of Firefox (mozilla.github.io/policy-templates).
package browser

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// maxBlocked is how many entries the browsers take.
const maxBlocked = 1000

// Formats are the entries of these formats.
func Formats() []export.Format {
	names := export.Holds{Names: true}
	return []export.Format{
		{Name: "chromium", About: "managed policy of Chromium, Chrome or Edge (Linux): /etc/chromium/policies/managed/, /etc/opt/chrome/…, /etc/opt/edge/…", Holds: names, Write: Chromium},
		{Name: "chromium-reg", About: "the same for Chrome and Edge on Windows: a registry file (reg import FILE)", Holds: names, Write: Registry},
		{Name: "firefox", About: "policies.json of Firefox: /etc/firefox/policies/, or distribution/ beside the program", Holds: names, Write: Firefox},
	}
}

// blocked returns the names that are blocked, without those below one that is, and what was left out. A policy that only watches names is refused: a
// browser that is given an empty list opens them all.
func blocked(p *export.Plan) (names, left []string, err error) {
	if len(p.Names) == 0 && p.Watched > 0 {
		return nil, nil, export.ErrWatched
	}
	if p.Watched > 0 {
		left = append(left, fmt.Sprintf("%d names are only watched by the policy: they are left out", p.Watched))
	}
	var all []string
	for _, n := range p.Names {
		all = append(all, n.Suffix)
	}
	for _, n := range all {
		if !slices.ContainsFunc(all, func(above string) bool { return strings.HasSuffix(n, "."+above) }) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxBlocked {
		left = append(left, fmt.Sprintf("browsers take %d names, %d are left out: let the resolver stop them", maxBlocked, len(names)-maxBlocked))
		names = names[:maxBlocked]
	}
	return names, left, nil
}

// Chromium writes the policy of Chromium and its kin: a host blocks all below it.
func Chromium(w io.Writer, p *export.Plan) (left []string, err error) {
	names, left, err := blocked(p)
	if err != nil {
		return nil, err
	}
	return left, export.WriteJSON(w, map[string]any{"URLBlocklist": append([]string{}, names...)})
}

// Registry writes the same policy as a registry file, for Chrome and Edge.
func Registry(w io.Writer, p *export.Plan) (left []string, err error) {
	names, left, err := blocked(p)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(export.RegistryHeader)
	for _, vendor := range []string{`Google\Chrome`, `Microsoft\Edge`} {
		fmt.Fprintf(&b, "\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\%s\\URLBlocklist]\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\%[1]s\\URLBlocklist]\r\n", vendor)
		for i, n := range names {
			fmt.Fprintf(&b, "\"%d\"=%s\r\n", i+1, export.RegistryString(n))
		}
	}
	_, err = io.WriteString(w, b.String())
	return left, err
}

// Firefox writes the policy of Firefox, with a pattern per name that covers all below it.
func Firefox(w io.Writer, p *export.Plan) (left []string, err error) {
	names, left, err := blocked(p)
	if err != nil {
		return nil, err
	}
	patterns := make([]string, 0, len(names))
	for _, n := range names {
		patterns = append(patterns, "*://*."+n+"/*")
	}
	return left, export.WriteJSON(w, map[string]any{"policies": map[string]any{"WebsiteFilter": map[string]any{"Block": patterns}}})
}
