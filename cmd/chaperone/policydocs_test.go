package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicyReferenceIsFresh compares the reference page with the code it is made from.
func TestPolicyReferenceIsFresh(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	if _, out, _ := call(t, "", "policy", "check", "--reference"); out != string(page) {
		t.Error("docs/reference/policy.md is old: chaperone policy check --reference > docs/reference/policy.md")
	}
}

// TestPolicyGuide runs the policy and the commands of the guide, and compares what they print.
func TestPolicyGuide(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	t.Chdir(t.TempDir())
	if err := os.WriteFile("policy.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := call(t, "", "policy", "test", "policy.yaml")
	if code != 0 || out != "2 of 2 cases passed\n" {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	for _, args := range [][]string{{"policy", "check", "policy.yaml"},
		{"policy", "explain", "--policy", "policy.yaml", "--from", "alice@example.org", "--to", "bob@example.org", "--text", "let's move this to WhatsApp"}} {
		_, out, _ := call(t, "", args...)
		for line := range strings.Lines(out) {
			line = strings.TrimRight(line, "\n")
			if at := strings.Index(line, "version "); at >= 0 {
				line = line[:at]
				line = line[strings.LastIndex(line, " is fine"):]
			}
			if !strings.Contains(string(page), line) {
				t.Errorf("%v: the guide does not have the line %q", args, line)
			}
		}
	}
}
