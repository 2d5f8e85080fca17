package docs_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestGenerated compares the generated pages with what the program writes now.
func TestGenerated(t *testing.T) {
	bin := build(t)
	fresh := t.TempDir()
	if out, err := exec.Command(filepath.Join(bin, "chaperone"), "reference", fresh).CombinedOutput(); err != nil {
		t.Fatalf("reference: %v\n%s", err, out)
	}
	pages, err := os.ReadDir(fresh)
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, p := range pages {
		want, err := os.ReadFile(filepath.Join(fresh, p.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("reference", p.Name()))
		if err != nil || string(got) != string(want) {
			t.Errorf("docs/reference/%s is not what the program writes: run make generate (%v)", p.Name(), err)
		}
	}
}

// TestGuides runs what the guides show in blocks that begin with "sh test", a shell for each page.
func TestGuides(t *testing.T) {
	bin := build(t)
	ran := 0
	for _, page := range pages(t, "guide") {
		script := script(t, page)
		if script == "" {
			continue
		}
		ran++
		if _, err := exec.LookPath("curl"); err != nil && strings.Contains(script, "curl ") {
			if os.Getenv("CHAPERONE_CI") == "1" {
				t.Fatal("curl is not installed")
			}
			t.Logf("%s was not run: curl is not installed", page)
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "-c", script)
			cmd.Dir = stage(t)
			cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+cmd.Dir,
				"CONSOLE_PORT="+freePort(t), "METRICS_PORT="+freePort(t))
			cmd.WaitDelay = 10 * time.Second
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if ran == 0 {
		t.Error("no guide has a block to run")
	}
}

// script joins the blocks of a page. A block marked "sh test findings" may end with status 1: it shows something that policy forbids. What the page does not
// show, because it stands for what readers have, is in a comment that begins with "sh test".
func script(t *testing.T, page string) string {
	var b strings.Builder
	var findings, running bool
	for line := range strings.Lines(read(t, page)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case running && (line == "```" || line == "-->"):
			running = false
		case running:
			b.WriteString(line + "\n")
		case strings.HasPrefix(line, "```sh test") || strings.HasPrefix(line, "<!-- sh test"):
			running, findings = true, strings.HasSuffix(line, " findings")
			allowed := 0
			if findings {
				allowed = 1
			}
			fmt.Fprintf(&b, "allowed=%d\n", allowed)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "set -uE; trap 'status=$?; [ $status -le $allowed ] || { echo \"line failed with $status: $BASH_COMMAND\" >&2; exit $status; }' ERR\n" + b.String() + "exit 0\n"
}

// stage is a folder with what readers of the guides have: a capture and downloads. Both are made here.
func stage(t *testing.T) string {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "capture.pcap"))
	if err == nil {
		err = flowtest.WriteDemo(f, netip.MustParseAddr("10.0.0.7"), time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC))
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "Downloads"), 0o700)
	}
	if err == nil {
		_, err = scantest.WriteRenamedInstaller(filepath.Join(dir, "Downloads"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks checks that what pages link to exists, headings included.
func TestLinks(t *testing.T) {
	for _, page := range everyPage(t) {
		text := withoutCode(read(t, page))
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue
			}
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if heading != "" && !hasHeading(read(t, path), heading) {
				t.Errorf("%s links to %s: there is no such heading", page, m[1])
			}
		}
	}
}

// TestNamedTestsExist checks that every test that a page names is there: SECURITY.md promises by them.
func TestNamedTestsExist(t *testing.T) {
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
	have := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllStringSubmatch(read(t, path), -1) {
				have[m[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range everyPage(t) {
		for _, m := range named.FindAllStringSubmatch(read(t, page), -1) {
			if !have[m[1]] {
				t.Errorf("%s names %s: there is no such test", page, m[1])
			}
		}
	}
}

// TestIndexIsComplete checks that the index names every guide and every reference page.
func TestIndexIsComplete(t *testing.T) {
	index := read(t, "README.md")
	for _, dir := range []string{"guide", "reference", "design"} {
		for _, page := range pages(t, dir) {
			if !strings.Contains(index, "("+filepath.ToSlash(page)+")") {
				t.Errorf("docs/README.md does not link to %s", page)
			}
		}
	}
}

// TestReadmeOpens holds the README to its promise: what it is and the two commands within twelve lines.
func TestReadmeOpens(t *testing.T) {
	lines := strings.SplitN(read(t, filepath.Join("..", "README.md")), "\n", 13)
	opening := strings.Join(lines[:12], "\n")
	for _, want := range []string{"make demo", "make test"} {
		if !strings.Contains(opening, want) {
			t.Errorf("the first twelve lines of README.md do not have %q", want)
		}
	}
}

func everyPage(t *testing.T) []string {
	all := pages(t, "..")
	for _, dir := range []string{".", "guide", "reference", "design", "../bench"} {
		all = append(all, pages(t, dir)...)
	}
	return all
}

func pages(t *testing.T, dir string) []string {
	found, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func withoutCode(text string) string {
	var b strings.Builder
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		} else if !code {
			b.WriteString(line)
		}
	}
	return b.String()
}

// hasHeading compares as web pages of the repository make anchors of headings.
func hasHeading(page, anchor string) bool {
	other := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	lines := bufio.NewScanner(strings.NewReader(withoutCode(page)))
	for lines.Scan() {
		if title, ok := strings.CutPrefix(strings.TrimLeft(lines.Text(), "#"), " "); ok && strings.HasPrefix(lines.Text(), "#") {
			if strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(title), ""), " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}

func freePort(t *testing.T) string {
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(at)
	return port
}

// build returns a folder that holds the programs.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+string(filepath.Separator), "../cmd/chaperone", "../cmd/chaperone-verify") // as make build does
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}
