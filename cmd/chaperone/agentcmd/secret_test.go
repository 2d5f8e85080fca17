package agentcmd

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
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

// TestCodeForPrograms: a code in JSON holds what it is for.
func TestCodeForPrograms(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := codeCmd{Secret: "file:" + secret, Host: "field", SHA256: strings.Repeat("ab", 32), For: time.Hour, JSON: true}
	if err := c.Run(&command.Env{Ctx: t.Context(), Out: &out, ErrOut: io.Discard}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Type, Code, Host, SHA256 string
		Until                    time.Time
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Type != "code" || got.Code == "" || got.Host != "field" || got.SHA256 != c.SHA256 || got.Until.Before(time.Now()) {
		t.Errorf("%s: %v", out.String(), err)
	}
}
