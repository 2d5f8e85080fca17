package scripts_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/policy/export/scripts"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// plan is one of hand-made facts, so that the golden files do not change with the catalog.
func plan() *export.Plan {
	chat := catalog.App{ID: "chat", Name: "Bob's Chat"}
	chat.Programs.Windows = []catalog.WindowsProgram{
		{Exe: "chat.exe", Product: []string{"Chat", "Chat’); calc"}, AppX: []string{"Vendor.Chat"}, Publishers: []catalog.Publisher{{Subject: "CN=Chat S.à r.l., O=Chat, Inc., ST=Zürich"}}},
		{Exe: "meet.exe", Product: []string{"Meet"}, Publishers: []catalog.Publisher{{Subject: "O=Big Vendor", Shared: true}}},
	}
	bare := catalog.App{ID: "bare", Name: "Bare"}
	bare.Programs.Windows = []catalog.WindowsProgram{{Exe: "bare.exe", Product: []string{"Bare"}}}
	return &export.Plan{Policy: "0123456789abcdef", Apps: []export.App{{App: chat, Rule: "none"}, {App: bare, Rule: "none"}},
		Hashes: []export.Hash{{SHA256: exporttest.Denied, App: "chat", Format: "pe"}, {SHA256: exporttest.Allowed, Allow: true}, {SHA256: strings.Repeat("3", 64), Format: "elf"}}}
}

func write(t *testing.T, f export.Format, p *export.Plan) (string, []string) {
	t.Helper()
	var out bytes.Buffer
	left, err := f.Write(&out, p)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), left
}

func TestGolden(t *testing.T) {
	for _, f := range scripts.Formats() {
		got, left := write(t, f, plan())
		if !slices.Contains(left, "bare: the catalog knows no signer or no name of its Windows programs") {
			t.Errorf("%s: left %q", f.Name, left)
		}
		name := filepath.Join("testdata", f.Name+".ps1")
		if *rewrite {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got != strings.ReplaceAll(strings.ReplaceAll(string(want), "\r\n", "\n"), "\n", "\r\n") {
			t.Errorf("%s differs: look at it, then -rewrite", name)
		}
	}
}

// cmdlets are what the scripts may call besides what they define.
const cmdlets = " Get-AuthenticodeSignature Get-Item Get-FileHash Get-ChildItem Get-ItemProperty Test-Path Where-Object ForEach-Object Split-Path Join-Path Get-AppxPackage " +
	"Sort-Object Write-Output Set-StrictMode Get-Acl Start-Process Remove-AppxPackage Out-Null "

// TestScriptsHoldTogether reads each script as PowerShell's grammar has it: strings end, brackets meet, all is ASCII, each command is
// defined or known, and nothing is ever evaluated or given to a shell.
func TestScriptsHoldTogether(t *testing.T) {
	for _, f := range scripts.Formats() {
		for _, p := range []*export.Plan{plan(), exporttest.Plan(t, exporttest.Policy, export.Options{}), {}} {
			text, _ := write(t, f, p)
			code, err := bare(text)
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
				continue
			}
			defined := map[string]bool{}
			for _, m := range regexp.MustCompile(`function ([A-Za-z]+-[A-Za-z]+)`).FindAllStringSubmatch(code, -1) {
				defined[m[1]] = true
			}
			for _, m := range regexp.MustCompile(`[^-\w$]([A-Z][a-z]+-[A-Z][A-Za-z]+)\b`).FindAllStringSubmatch(code, -1) {
				if !defined[m[1]] && !strings.Contains(cmdlets, " "+m[1]+" ") {
					t.Errorf("%s calls %s", f.Name, m[1])
				}
			}
			if bad := regexp.MustCompile(`(?i)\b(Invoke-Expression|iex|cmd|Add-Type|ScriptBlock|EncodedCommand)\b`).FindString(code); bad != "" {
				t.Errorf("%s has %s", f.Name, bad)
			}
			if n := strings.Count(code, "& "); n > 1 || n == 1 && !strings.Contains(code, "& $chaperone scan") {
				t.Errorf("%s calls by name", f.Name)
			}
		}
	}
}

// bare returns a script without comments and with empty strings, or what is wrong with its shape.
func bare(text string) (string, error) {
	var b strings.Builder
	var open []byte
	match := map[byte]byte{')': '(', '}': '{', ']': '['}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c >= 0x7F || c < ' ' && c != '\r' && c != '\n':
			return "", fmt.Errorf("byte %#x at %d", c, i)
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '\'' || c == '"':
			end := i + 1
			for ; end < len(text); end++ {
				if text[end] == '\n' {
					return "", fmt.Errorf("a string goes over lines at %d", i)
				}
				if text[end] == '`' && c == '"' {
					end++
				} else if text[end] == c {
					if end+1 < len(text) && text[end+1] == c {
						end++
						continue
					}
					break
				}
			}
			if end >= len(text) {
				return "", errors.New("a string has no end")
			}
			b.WriteString("''")
			i = end
			continue
		case strings.IndexByte("({[", c) >= 0:
			open = append(open, c)
		case match[c] != 0:
			if len(open) == 0 || open[len(open)-1] != match[c] {
				return "", fmt.Errorf("%c at %d", c, i)
			}
			open = open[:len(open)-1]
		}
		if i < len(text) && c != '#' {
			b.WriteByte(c)
		}
	}
	if len(open) > 0 {
		return "", fmt.Errorf("%d brackets are open", len(open))
	}
	return b.String(), nil
}

// TestTablesDecideAsThePolicy reads the tables back, and decides by them as Get-Messenger does.
func TestTablesDecideAsThePolicy(t *testing.T) {
	text, _ := write(t, scripts.Formats()[0], exporttest.Plan(t, exporttest.Policy, export.Options{}))
	row := regexp.MustCompile(`(?m)^    @\{ App = '([a-z0-9_]+)'; .*?Products = @\((.*?)\); AppX = @\((.*?)\); Signers = @\((.*)\) \}\r$`)
	who := regexp.MustCompile(`@\{ Parts = @\('([^']*)'\); Shared = \$(true|false) \}`)
	decide := func(signer, product string) string {
		for _, r := range row.FindAllStringSubmatch(text, -1) {
			for _, s := range who.FindAllStringSubmatch(r[4], -1) {
				if s[1] == signer && (s[2] == "false" || strings.Contains(r[2], "'"+product+"'")) {
					return r[1]
				}
			}
		}
		return ""
	}
	for _, c := range []struct{ signer, product, want string }{
		{"O=Telegram FZ-LLC", "", "telegram"}, {"O=WhatsApp, Inc", "anything", "whatsapp"},
		{"O=Microsoft Corporation", "Microsoft Word", ""}, {"O=Microsoft Corporation", "Skype for Business", "skype_for_business"},
		{"O=Slack Technologies, Inc.", "Slack", ""}, {"O=Example", "Telegram Desktop", ""},
	} {
		if got := decide(c.signer, c.product); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.signer, c.product, got, c.want)
		}
	}
	for _, want := range []string{"$Stopped = @{ '" + exporttest.Denied + "' = 'rule bad' }", "$Allowed = @{ '" + exporttest.Allowed + "' = $true }"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestOnlyRemovalIsRefusedWhereThePolicyWatches: a detection changes nothing.
func TestOnlyRemovalIsRefusedWhereThePolicyWatches(t *testing.T) {
	p := exporttest.Plan(t, "version: 1\nmode: monitor\nrules: [{id: none, apps: ['*'], verdict: block}]\n", export.Options{})
	for _, f := range scripts.Formats() {
		if _, err := f.Write(io.Discard, p); errors.Is(err, export.ErrWatched) != (f.Name == "windows-remove") {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

// TestPowerShellParses has the real parser read the scripts where there is one; no package of the systems that tests run on brings it.
func TestPowerShellParses(t *testing.T) {
	pwsh, err := exec.LookPath("pwsh")
	if err != nil {
		t.Skip("no pwsh here: the scripts were read by this test's own reader alone")
	}
	for _, f := range scripts.Formats() {
		text, _ := write(t, f, plan())
		name := filepath.Join(t.TempDir(), "script.ps1")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		const parse = `$e = $null; [void][System.Management.Automation.Language.Parser]::ParseFile($args[0], [ref]$null, [ref]$e); $e; exit @($e).Count`
		if out, err := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-Command", "& {"+parse+"} '"+name+"'").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f.Name, err, out)
		}
	}
}
