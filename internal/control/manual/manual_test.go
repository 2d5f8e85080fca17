package manual_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/control/manual"
)

func sample() *manual.Command {
	return &manual.Command{Name: "loom", Help: "Weaves.", Commands: []manual.Command{
		{Name: "weave", Help: "Weave a | b.", Args: []manual.Arg{{Name: "yarn", Help: "Yarn.", Many: true, Files: true}}, Flags: []manual.Flag{
			{Name: "width", Short: "w", Value: "N", Help: "Threads; it's a number.", Default: "7"},
			{Name: "pattern", Value: "FILE", Help: "Pattern.", Files: true},
			{Name: "edge", Value: "KIND", Help: "Edge.", Required: true, Words: []string{"plain", "frayed"}},
		}},
		{Name: "yarn", Help: "Manage yarn.", Commands: []manual.Command{
			{Name: "dye", Help: "Dye \\it.", Args: []manual.Arg{{Name: "colour", Help: ".5 is half.", Optional: true}}},
			{Name: "spin", Help: "Spin."},
		}},
	}}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := manual.Markdown(&b, sample()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"do not edit", "## loom weave\n\nWeave a | b.\n\n```\nloom weave --edge=KIND [flags] <yarn> ...\n```\n",
		"| `-w, --width=N` | Threads; it's a number. Default 7. |", "## loom yarn dye", "loom yarn dye [<colour>]", "## loom yarn spin\n\nSpin.\n\n```\nloom yarn spin\n```\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "## loom yarn\n") {
		t.Error("a command that only holds others has a section")
	}
}

func TestMan(t *testing.T) {
	var b strings.Builder
	if err := manual.Man(&b, sample(), 1, "1.2"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".TH LOOM 1", ".SS yarn dye\nDye \\eit.", ".B \\-w, \\-\\-width=N", "\n\\&.5 is half."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("man is not installed: the page was not rendered")
	}
	page := filepath.Join(t.TempDir(), "loom.1")
	if err := os.WriteFile(page, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("man", "--warnings", "-l", page)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANPAGER=cat")
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "warning:") {
		t.Errorf("man: %v\n%s", err, out)
	}
}

// TestBashCompletes asks a real bash.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	var script bytes.Buffer
	if err := manual.Bash(&script, sample()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "red.yarn"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want string }{
		{"loom ", "weave yarn --help"},
		{"loom y", "yarn"},
		{"loom yarn ", "dye spin --help"},
		{"loom weave --p", "--pattern"},
		{"loom weave --pattern ", "red.yarn"},
		{"loom weave --width ", ""},
		{"loom weave re", "red.yarn"},
		{"loom weave --width 3 --e", "--edge"},
		{"loom nothing ", "weave yarn --help"},
	} {
		words := strings.Split(c.line, " ")
		cmd := exec.Command(bash, "-c", script.String()+"\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($#-1)); _loom; echo \"${COMPREPLY[*]}\"", "bash")
		cmd.Args = append(cmd.Args, words...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%q: %q, wanted %q (%v)", c.line, got, c.want, err)
		}
	}
}

// TestOtherShells checks that what was written parses, where the shell is installed, and holds every command.
func TestOtherShells(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *manual.Command) error{"zsh": manual.Zsh, "fish": manual.Fish} {
		var script bytes.Buffer
		if err := write(&script, sample()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"weave", "dye", "spin", "width", "it’s a number"} {
			if !strings.Contains(script.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, script.String())
			}
		}
		shell, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not installed: its completion was not parsed", name)
			continue
		}
		cmd := exec.Command(shell, "-n")
		if name == "fish" {
			cmd = exec.Command(shell, "--no-execute")
		}
		cmd.Stdin = &script
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWritesThatFail(t *testing.T) {
	for _, write := range []func(io.Writer, *manual.Command) error{manual.Markdown, manual.Bash, manual.Zsh, manual.Fish,
		func(w io.Writer, c *manual.Command) error { return manual.Man(w, c, 1, "") }} {
		if err := write(full{}, sample()); err == nil {
			t.Error("no error")
		}
	}
}
