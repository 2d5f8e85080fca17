package agentcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
)

// TestSecretsThatCanBeGuessed are refused by who makes codes and by the agent that takes them, with a way to make a good one.
func TestSecretsThatCanBeGuessed(t *testing.T) {
	dir := t.TempDir()
	for text, good := range map[string]bool{
		"pw": false, "fifteen bytes..": false, strings.Repeat("a", 40): false, strings.Repeat("abc", 20): false, "": false,
		"vLr0mV0m4hJm2b1lHqk9u1y0o3m7c5d9x8w6e4r2t0A=\n": true, "0123456789abcdef": true,
	} {
		if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		secret, err := readSecret("file:secret", dir)
		if good && (err != nil || string(secret) != strings.TrimSpace(text)) {
			t.Errorf("%q: %q, %v", text, secret, err)
		}
		if !good && (err == nil || text != "" && !strings.Contains(hint.Of(err), "/dev/urandom")) {
			t.Errorf("%q: %v, hint %q", text, err, hint.Of(err))
		}
	}
	if _, err := readSecret("file:none", dir); err == nil {
		t.Error("a secret that is not there was read")
	}
}
