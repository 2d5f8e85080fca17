// Package scripts writes a plan as PowerShell scripts for Intune and Configuration Manager (SCCM): detection of the messengers that policy
// stops, by what the catalog knows of them, and remediation. They are for Windows PowerShell 5.1 and later, run as the system account.
//
// A messenger is detected by content or by the signer of a valid signature, with its product where that signer makes others too; names of
// files only say where to look. Remediation runs uninstallers that keys of the machine name and that no person could have written; whatever
// else is found goes to Chaperone's quarantine.
package scripts

import (
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

//go:embed script/find.ps1
var find string

//go:embed script/intune-detect.ps1
var intuneDetect string

//go:embed script/sccm-detect.ps1
var sccmDetect string

//go:embed script/remove.ps1
var remove string

// Formats are the entries of these formats.
func Formats() []export.Format {
	programs := export.Holds{Programs: true}
	return []export.Format{
		{Name: "intune-detect", About: "detection script of an Intune remediation (Windows): run as system, in 64-bit PowerShell", Holds: programs, Write: detection(intuneDetect)},
		{Name: "sccm-detect", About: "detection method of a Configuration Manager application (Windows), in PowerShell", Holds: programs, Write: detection(sccmDetect)},
		{Name: "windows-remove", About: "remediation script for both: the Intune remediation, the uninstall program of the application", Holds: programs, Write: removal},
	}
}

// detection writes a script that looks and changes nothing: also for a policy that only watches.
func detection(tail string) func(w io.Writer, p *export.Plan) ([]string, error) {
	return func(w io.Writer, p *export.Plan) ([]string, error) {
		data, left := table(p)
		_, err := io.WriteString(w, script(data+find+tail))
		return left, err
	}
}

func removal(w io.Writer, p *export.Plan) ([]string, error) {
	if p.Audit {
		return nil, export.ErrWatched
	}
	data, left := table(p)
	_, err := io.WriteString(w, script(data+find+remove))
	return append(left, "a script knows no legal holds, and an uninstaller may delete what was said: leave machines that are held out of the assignment, or let the fleet remove",
		`what has no uninstaller of the machine goes to the quarantine of %ProgramFiles%\Chaperone\chaperone.exe by %ProgramData%\Chaperone\policy.yaml; without them it stays, and the script says so`), err
}

// script has the line ends of Windows.
func script(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// table writes what policy stops as tables of PowerShell.
func table(p *export.Plan) (text string, left []string) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by chaperone policy export from policy %s.\n# In 32-bit PowerShell half of the machine is not seen.\n\n$Messengers = @(\n", strings.Trim(literal(p.Policy), "'()"))
	hashes, left := export.HashesOf(p, "Windows", "pe")
	left = append(left, export.Unknown(p, "Windows", func(a *export.App) bool { return len(a.Programs.Windows) > 0 })...)
	var rows []string
	for i := range p.Apps {
		a := &p.Apps[i]
		switch r, ok := row(a); {
		case ok:
			rows = append(rows, "    "+r)
		case len(a.Programs.Windows) > 0:
			left = append(left, a.ID+": the catalog knows no signer or no name of its Windows programs")
		}
	}
	fmt.Fprintf(&b, "%s\n)\n", strings.Join(rows, "\n"))
	var stopped, allowed []string
	for _, h := range hashes {
		switch {
		case h.Allow:
			allowed = append(allowed, literal(h.SHA256)+" = $true")
		default:
			stopped = append(stopped, literal(h.SHA256)+" = "+literal(nameOf(h)))
		}
	}
	fmt.Fprintf(&b, "$Stopped = @{ %s }\n$Allowed = @{ %s }\n", strings.Join(stopped, "; "), strings.Join(allowed, "; "))
	if len(stopped) > 0 {
		left = append(left, fmt.Sprintf("%d files known by content: looked for only where they are called like a messenger", len(stopped)))
	}
	if p.Removable != nil {
		left = append(left, "removable media: the scripts look at fixed folders")
	}
	return b.String(), append(left, "a messenger that was renamed is found only where an uninstall key points at it: scan finds it anywhere")
}

// row is what is known of the Windows programs of a messenger.
func row(a *export.App) (string, bool) {
	var files, products, appx []string
	var signers []signer
	for _, w := range a.Programs.Windows {
		if w.Exe != "" {
			files = append(files, w.Exe)
		}
		products, appx = append(products, w.Product...), append(appx, w.AppX...)
		for _, s := range append(slices.Clone(w.Publishers), a.Publisher...) {
			signers = append(signers, signer{parts(s.Subject), s.Shared})
		}
	}
	ok := len(appx) > 0 || len(signers) > 0 && len(files) > 0
	return fmt.Sprintf("@{ App = %s; Name = %s; Files = %s; Products = %s; AppX = %s; Signers = %s }", literal(a.ID), literal(a.Name), list(files), list(products), list(appx),
		signerList(signers)), ok
}

func nameOf(h export.Hash) string {
	if h.App != "" {
		return h.App
	}
	return "rule " + h.Rule
}

// signer is a publisher as its parts are compared.
type signer struct {
	parts  []string
	shared bool
}

// next begins another part of a subject.
var next = regexp.MustCompile(`,\s*([A-Z]{1,2}=)`)

// parts cuts a subject, with the state as Windows names it, and without quotes: the script takes them off too.
func parts(subject string) []string {
	out := strings.Split(next.ReplaceAllString(strings.ReplaceAll(subject, `"`, ""), "\n$1"), "\n")
	for i, p := range out {
		if state, ok := strings.CutPrefix(p, "ST="); ok {
			out[i] = "S=" + state
		}
	}
	return out
}

func signerList(signers []signer) string {
	var out []string
	for _, s := range signers {
		shared := "$false"
		if s.shared {
			shared = "$true"
		}
		if one := fmt.Sprintf("@{ Parts = %s; Shared = %s }", list(s.parts), shared); !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return "@(" + strings.Join(out, ", ") + ")"
}

func list(words []string) string {
	var out []string
	for _, w := range words {
		if l := literal(w); !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return "@(" + strings.Join(out, ", ") + ")"
}

// literal is a string in which nothing is expanded. What is not printable ASCII goes by its number: Windows PowerShell reads a file without
// a mark in the code page of the machine, and takes typographic quotes for quotes.
func literal(s string) string {
	var b strings.Builder
	plain := true
	b.WriteByte('\'')
	for _, c := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case c == '\'':
			b.WriteString("''")
		case c >= ' ' && c < 0x7F:
			b.WriteRune(c)
		default:
			plain = false
			fmt.Fprintf(&b, "' + [char]::ConvertFromUtf32(0x%X) + '", c)
		}
	}
	b.WriteByte('\'')
	if plain {
		return b.String()
	}
	return "(" + b.String() + ")"
}
